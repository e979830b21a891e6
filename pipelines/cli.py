"""The commands that need the pipelines.

dagster takes over a second to import, so the modules that need it are imported by their command.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.reports.output import Output, output_options, write

if TYPE_CHECKING:
    from pipelines.lake.audit import KeptHead
    from pipelines.refresh import RefreshResult, RetainResult
    from router.config import Settings

_home = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME."
)


@click.command("refresh")
@_home
def refresh_command(home: Path | None) -> None:
    """Load new records, update the tables that they touch, publish scores and warehouse.

    Exits with 1 if a check finds missing or wrong data.
    """
    from pipelines.refresh import refresh

    _report_refresh(refresh(_settings(home)))


@click.command("rebuild")
@_home
def rebuild_command(home: Path | None) -> None:
    """Build the database again from the lake, and keep the old one as `.broken-<time>`.

    Exits with 1 if a check finds missing or wrong data.
    """
    from pipelines.refresh import rebuild

    _report_refresh(rebuild(_settings(home)))


def _report_refresh(result: RefreshResult) -> None:
    from pipelines.errors import WarehouseError

    if not result.success:
        raise WarehouseError(f"the refresh failed: {result.error}")
    loaded = ", ".join(f"{rows} rows of {dataset}" for dataset, rows in result.rows.items())
    what = f"loaded {result.segments} segments ({loaded})" if result.segments else "nothing new to load"
    scores = f"scores `{result.snapshot_id}`" if result.snapshot_id else "no scores yet"
    click.echo(f"{what}; {scores}; {result.seconds:.1f} s")
    _report_checks(result)


@click.command("retention")
@_home
@click.option("--dry-run", is_flag=True, help="List the rows and files to remove, and change nothing.")
@click.option("--now", "now_text", metavar="MOMENT", help="Use this moment instead of now.")
@click.option("--force", is_flag=True, help="Accept a moment far beyond the newest record.")
def retention_command(home: Path | None, now_text: str | None, *, dry_run: bool, force: bool) -> None:
    """Remove raw records past their retention period, and keep rollups and history."""
    from pipelines.errors import WarehouseError
    from pipelines.refresh import retain
    from pipelines.reports.reports import parse_moment

    now = None if now_text is None else parse_moment(now_text)
    result = retain(_settings(home), now=now, dry_run=dry_run, force=force)
    if not result.success:
        raise WarehouseError(f"retention failed: {result.error}")
    verb = "would remove" if dry_run else "removed"
    rows = ", ".join(f"{count} rows of {dataset}" for dataset, count in result.rows.items())
    click.echo(
        f"{verb} {rows}, {len(result.partitions)} lake folders and {len(result.score_files)} score files"
        f" from before {result.expired_before}"
    )
    for partition in result.partitions:
        click.echo(f"  {partition}")
    for name in result.rewritten:
        click.echo(f"  {name}: some rows")
    for dataset, organizations in result.organizations.items():
        for organization, count in organizations.items():
            click.echo(f"  {dataset}, {organization or 'no organisation'}: {count} rows")
    for dataset, count in result.held.items():
        if count:
            click.echo(f"  {dataset}: {count} rows stay under a legal hold")
    _report_checks(result)


@click.command("compact")
@_home
def compact_command(home: Path | None) -> None:
    """Merge the small segments of finished hours, as the hourly housekeeping job does."""
    from datetime import UTC, datetime

    from pipelines.lake.compaction import compact

    result = compact(_settings(home).lake, now=datetime.now(UTC))
    click.echo(f"merged {result.merged} segments into {len(result.written)}, {result.rows} rows")


@click.command("doctor")
@_home
@click.option("--audit", is_flag=True, help="Also walk the hash chains for changed or removed files.")
@click.option(
    "--expect-head",
    "heads",
    metavar="DATASET/WRITER=POSITION:SHA256",
    multiple=True,
    help="A chain head that an earlier audit printed. The audit fails if the chain was cut after it.",
)
@click.option(
    "--expect-heads",
    "heads_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the output of an earlier audit. Every head in it is expected.",
)
@click.option(
    "--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def doctor_command(
    home: Path | None, output_format: str, heads: tuple[str, ...], heads_file: Path | None, *, audit: bool
) -> None:
    """Check lake, ledger and warehouse, and exit with 1 if something is wrong."""
    from pipelines.doctor import doctor

    expected = _expected_heads(heads, heads_file)
    report = doctor.inspect(_settings(home), with_audit=audit or bool(expected), expected=expected)
    click.echo(doctor.render(report, as_json=output_format == "json"))
    if any(finding.severity == "error" for finding in report.findings):
        sys.exit(1)


def _expected_heads(heads: tuple[str, ...], file: Path | None) -> list[KeptHead]:
    from pipelines.lake.audit import KeptHead

    expected = []
    for text in heads:
        found = KeptHead.find_all(text)
        if [str(head) for head in found] != [text]:
            raise click.BadParameter(
                f"`{text}` is not a chain head: copy one from the output of `intellirouter doctor --audit`",
                param_hint="--expect-head",
            )
        expected += found
    if file is not None:
        found = KeptHead.find_all(file.read_text(encoding="utf-8"))
        if not found:
            raise click.BadParameter(
                f"`{file}` holds no chain head: name the output of `intellirouter doctor --audit`",
                param_hint="--expect-heads",
            )
        expected += found
    return expected


@click.command("erase")
@_home
@click.option("--user", required=True, help="The person's user id.")
@click.option("--organization", help="Erase them in this organisation only.")
@click.option("--dry-run", is_flag=True, help="Count the rows to remove, and change nothing.")
@click.option("--unseen", is_flag=True, help="Accept an id that no file holds, and certify that.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase_command(
    home: Path | None, user: str, organization: str | None, *, dry_run: bool, unseen: bool, yes: bool
) -> None:
    """Remove a person from records, feedback and audit trail. Bills do not change."""
    from pipelines.erasure.config_mentions import advice, mentions
    from pipelines.erasure.erasure import preview
    from pipelines.erasure.presence import is_known
    from pipelines.errors import ErasureError
    from pipelines.flow import erase

    settings = _settings(home)
    trace = preview(settings, user, organization=organization)
    rows = ", ".join(f"{count} rows of {dataset}" for dataset, count in trace.rows.items()) or "no rows"
    if not (unseen or is_known(settings, user, trace, organization=organization)):
        where = "" if organization is None else f" in organisation `{organization}`"
        raise ErasureError(
            f"no file under `{settings.home}` shows a user `{user}`{where}: check the spelling, or add"
            " --unseen for a certificate that nothing is there"
        )
    click.echo(f"found {rows} in {len(trace.segments)} segments")
    for name in mentions(settings, user, organization=organization):
        click.echo(f"  {name} names them too: {advice(name)}")
    if dry_run:
        return
    if not yes:
        click.confirm("Erase them? You cannot undo this", abort=True)
    certificate = erase(settings, user, organization=organization)
    rows = ", ".join(f"{count} rows of {dataset}" for dataset, count in certificate.rows.items())
    click.echo(f"removed {rows}; certificate in {settings.erasures}")
    for name in certificate.pending_journals:
        click.echo(f"  {name}: a running router writes this journal. The refresh after its sealing erases it")
    for mention in certificate.mentions:
        where = f" ({', '.join(mention.columns)})" if mention.columns else ""
        click.echo(
            f"  {mention.path}{where}: a text equals the id, and is no place of a person. Judge it yourself"
        )
    if certificate.remaining:
        problems = {copy.target: copy.problem for copy in certificate.copies}
        raise ErasureError(
            "these files or copies still hold the person, or cannot be read: "
            + "; ".join(f"`{name}`: {problems.get(name) or advice(name)}" for name in certificate.remaining)
            + "; then erase again"
        )


@click.command("report")
@click.argument("name", required=False)
@click.option("--since", default="30d", show_default=True, help="7d, 24h, 2026-11-01 or an ISO moment.")
@click.option("--until", help="As --since. Default: now.")
@click.option("--organization", help="Only this organisation.")
@_home
@output_options
@click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds to run at most.")
def report_command(
    name: str | None,
    since: str,
    until: str | None,
    organization: str | None,
    home: Path | None,
    timeout: float,
    to: Output,
) -> None:
    """Print a report. Without a name, list all reports."""
    from pipelines.reports import reports
    from pipelines.warehouse import sqlfiles

    if name is None:
        for known in reports.report_names():
            sentence = sqlfiles.load(f"reports/{known.replace('-', '_')}").sentence
            click.echo(f"{known:24}{sentence.split('. ')[0].split(' Variables')[0]}")
        return
    start = reports.parse_moment(since)
    end = None if until is None else reports.parse_moment(until)
    answer = reports.report(
        _settings(home), name, since=start, until=end, organization=organization, timeout_s=timeout
    )
    write(answer, to, title=[reports.title(name, start, end, organization)], totals=True)


@click.command("explain")
@click.argument("request_id")
@_home
def explain_command(request_id: str, home: Path | None) -> None:
    """Explain why the router chose a request's model, and which changes would change the choice."""
    from pipelines.errors import QueryError
    from pipelines.reports import reports
    from router.decision.explanations import explain

    explanation = explain(reports.record(_settings(home), request_id))
    click.echo(explanation.text())
    if explanation.reproduced not in (None, explanation.model):
        raise QueryError(
            f"the stored candidates and random number choose `{explanation.reproduced}`, the record says"
            f" `{explanation.model}`: the record was changed. Run `intellirouter doctor --audit`"
        )


COMMANDS: list[click.Command] = [
    refresh_command,
    rebuild_command,
    compact_command,
    retention_command,
    erase_command,
    doctor_command,
    report_command,
    explain_command,
]


def _settings(home: Path | None) -> Settings:
    from router.config import Settings
    from router.settings.folder import existing

    return existing(Settings.load(home=home))


def _report_checks(result: RefreshResult | RetainResult) -> None:
    """Name the failed checks. Exit with 1 if one of them shows missing or wrong data."""
    for name, description in result.failed_checks.items():
        kind = "failed" if name in result.violated else "warns"
        click.echo(f"check {name} {kind}: {description}", err=True)
    if result.violated:
        sys.exit(1)
