"""The commands that need the pipelines.

dagster takes over a second to import, so the modules that need it are imported by their command.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.billing.bill_commands import bill_group, month_option, organization_option, timezone_option
from router.settings.printing import RowOutput, row_options

if TYPE_CHECKING:
    from pipelines.lake.audit import KeptHead
    from pipelines.refresh import RefreshResult, RetainResult
    from router.config import Settings

_home = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME."
)


@click.command("refresh")
@_home
@row_options
def refresh_command(home: Path | None, to: RowOutput) -> None:
    """Load new records, update the tables that they touch, publish scores and warehouse.

    Exits with 1 if a check finds missing or wrong data.
    """
    from pipelines.refresh import refresh
    from pipelines.warehouse import advance

    with advance.on_terminal():
        result = refresh(_settings(home))
    _report_refresh(result, to)


@click.command("rebuild")
@_home
@row_options
def rebuild_command(home: Path | None, to: RowOutput) -> None:
    """Build the database again from the lake, and keep the old one as `.broken-<time>`.

    Exits with 1 if a check finds missing or wrong data.
    """
    from pipelines.refresh import rebuild
    from pipelines.warehouse import advance

    with advance.on_terminal():
        result = rebuild(_settings(home))
    _report_refresh(result, to)


def _report_refresh(result: RefreshResult, to: RowOutput) -> None:
    from pipelines.errors import WarehouseError

    if not result.success:
        raise WarehouseError(f"the refresh failed: {result.error}")
    loaded = ", ".join(f"{rows} rows of {dataset}" for dataset, rows in result.rows.items())
    what = f"loaded {result.segments} segments ({loaded})" if result.segments else "nothing new to load"
    scores = f"scores `{result.snapshot_id}`" if result.snapshot_id else "no scores yet"
    facts = {
        "segments": result.segments,
        **{f"rows_{dataset}": rows for dataset, rows in result.rows.items()},
        "quarantined": result.quarantined,
        "snapshot_id": result.snapshot_id,
        "failed_checks": ", ".join(sorted(result.violated)) or None,
        "warning_checks": ", ".join(sorted(result.failed_checks.keys() - result.violated)) or None,
        "seconds": round(result.seconds, 3),
    }
    to.write([facts], [f"{what}; {scores}; {result.seconds:.1f} s"])
    _report_checks(result)


@click.command("retention")
@_home
@click.option("--dry-run", is_flag=True, help="List the rows and files to remove, and change nothing.")
@click.option("--now", "now_text", metavar="MOMENT", help="Use this moment instead of now.")
@click.option("--force", is_flag=True, help="Accept a moment far beyond the newest record.")
@row_options
def retention_command(
    home: Path | None, now_text: str | None, to: RowOutput, *, dry_run: bool, force: bool
) -> None:
    """Remove raw records past their retention period, and keep rollups and history."""
    from pipelines.errors import WarehouseError
    from pipelines.refresh import retain
    from pipelines.reports.periods import parse_moment
    from pipelines.retention.retention import check_given

    settings = _settings(home)
    now = None if now_text is None else parse_moment(now_text)
    if now is not None and not dry_run:
        check_given(settings, now)
    result = retain(settings, now=now, dry_run=dry_run, force=force)
    if not result.success:
        raise WarehouseError(f"retention failed: {result.error}")
    verb = "would remove" if dry_run else "removed"
    rows = ", ".join(f"{count} rows of {dataset}" for dataset, count in result.rows.items())
    removed = f"{len(result.partitions)} lake folders and {len(result.score_files)} score files"
    lines = [
        f"{verb} {rows}, {removed} from before {result.expired_before}",
        *(f"  {partition}" for partition in result.partitions),
        *(f"  {name}: some rows" for name in result.rewritten),
    ]
    for dataset, organizations in result.organizations.items():
        for organization, count in organizations.items():
            lines.append(f"  {dataset}, {organization or 'no organisation'}: {count} rows")
    lines += [
        f"  {dataset}: {count} rows stay under a legal hold"
        for dataset, count in result.held.items()
        if count
    ]
    facts = [
        {
            "dataset": dataset,
            "rows": count,
            "rows_held": result.held.get(dataset, 0),
            "expired_before": result.expired_before,
            "is_dry_run": dry_run,
        }
        for dataset, count in result.rows.items()
    ]
    to.write(facts, lines)
    _report_checks(result)


@click.command("admit")
@_home
@click.option("--dry-run", is_flag=True, help="List the segments, and change nothing.")
@click.option("--force", is_flag=True, help="Also days that an earlier release archived.")
@row_options
def admit_command(home: Path | None, to: RowOutput, *, dry_run: bool, force: bool) -> None:
    """Count segments that arrived after retention had closed their day.

    Their rows enter the archived rollups, as if they had come in time. Exits with 1 if some cannot.
    """
    from pipelines.refresh import admit

    admitted = admit(_settings(home), dry_run=dry_run, force=force)
    verb = "would admit" if dry_run else "admitted"
    facts = [
        {
            "day": str(day),
            "segment": segment.manifest.name,
            "rows": segment.manifest.rows,
            "is_dry_run": dry_run,
        }
        for day, segments in sorted(admitted.days.items())
        for segment in segments
    ]
    lines = [f"{verb} {admitted.rows} requests of {len(admitted.days)} closed days"]
    for day, segments in sorted(admitted.days.items()):
        lines.append(f"  {day}: {', '.join(segment.manifest.name for segment in segments)}")
    to.write(facts, [*lines, *(f"  {name}: counted already" for name in admitted.counted)])
    for name, reason in admitted.refused.items():
        click.echo(f"  {name}: {reason}", err=True)
    if admitted.refused:
        sys.exit(1)


@click.command("compact")
@_home
@row_options
def compact_command(home: Path | None, to: RowOutput) -> None:
    """Merge the small segments of finished hours, as the hourly housekeeping job does."""
    from datetime import UTC, datetime

    from pipelines.lake.compaction import compact

    result = compact(_settings(home).lake, now=datetime.now(UTC))
    facts = {"merged": result.merged, "written": len(result.written), "rows": result.rows}
    to.write([facts], [f"merged {result.merged} segments into {len(result.written)}, {result.rows} rows"])


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
@row_options
def doctor_command(
    home: Path | None, to: RowOutput, heads: tuple[str, ...], heads_file: Path | None, *, audit: bool
) -> None:
    """Check lake, ledger and warehouse, and exit with 1 if something is wrong."""
    from pipelines.doctor import doctor

    expected = _expected_heads(heads, heads_file)
    report = doctor.inspect(_settings(home), with_audit=audit or bool(expected), expected=expected)
    to.write(doctor.rows_of(report), doctor.lines_of(report))
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
@row_options
def erase_command(
    home: Path | None,
    user: str,
    organization: str | None,
    to: RowOutput,
    *,
    dry_run: bool,
    unseen: bool,
    yes: bool,
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
    lines = [f"found {rows} in {len(trace.segments)} segments"]
    named = mentions(settings, user, organization=organization)
    lines += [f"  {name} names them too: {advice(name)}" for name in named]
    if dry_run:
        found = [
            {"dataset": dataset, "rows": count, "is_dry_run": True, "remaining": None}
            for dataset, count in trace.rows.items()
        ]
        to.write(found, lines)
        return
    for line in lines:  # a person decides by them, so a program's output begins later
        click.echo(line, err=to.format != "table")
    if not yes:
        click.confirm("Erase them? You cannot undo this", abort=True, err=to.format != "table")
    certificate = erase(settings, user, organization=organization)
    rows = ", ".join(f"{count} rows of {dataset}" for dataset, count in certificate.rows.items())
    lines = [f"removed {rows}; certificate in {settings.erasures}"]
    if settings.lake_url is not None:
        lines.append(
            f"  `{settings.lake_url}` and the other hosts follow with their next rounds of `intellirouter"
            " sync`; `intellirouter doctor` names a host without one"
        )
    for name in certificate.pending_journals:
        lines.append(f"  {name}: a running router wrote it meanwhile. The next refresh erases it")
    for name in certificate.later:
        lines.append(f"  {name}: holds requests made after the erasure began. Erase again to remove them")
    for mention in certificate.mentions:
        where = f" ({', '.join(mention.columns)})" if mention.columns else ""
        lines.append(
            f"  {mention.path}{where}: a text equals the id, and is no place of a person. Judge it yourself"
        )
    remaining = ", ".join(certificate.remaining) or None
    removed = [
        {"dataset": dataset, "rows": count, "is_dry_run": False, "remaining": remaining}
        for dataset, count in certificate.rows.items()
    ]
    to.write(removed, lines)
    if certificate.remaining:
        problems = {copy.target: copy.problem for copy in certificate.copies}
        raise ErasureError(
            "these files or copies still hold the person, or cannot be read: "
            + "; ".join(f"`{name}`: {problems.get(name) or advice(name)}" for name in certificate.remaining)
            + "; then erase again"
        )


@click.command("explain")
@click.argument("request_id")
@_home
@row_options
def explain_command(request_id: str, home: Path | None, to: RowOutput) -> None:
    """Explain why the router chose a request's model, and which changes would change the choice."""
    from pipelines.errors import QueryError
    from pipelines.reports import reports
    from router.decision.explanations import explain

    explanation = explain(reports.record(_settings(home), request_id))
    parts = [("reason", explanation.model, text) for text in explanation.reasons]
    parts += [("excluded", model, reason) for model, reason in explanation.excluded.items()]
    parts += [("what_if", None, text) for text in explanation.what_if]
    facts = [
        {"request_id": explanation.request_id, "model_selected": explanation.model}
        | {"kind": kind, "model": model, "text": text}
        for kind, model, text in parts
    ]
    to.write(facts, [explanation.text()])
    if explanation.reproduced not in (None, explanation.model):
        raise QueryError(
            f"the stored candidates and random number choose `{explanation.reproduced}`, the record says"
            f" `{explanation.model}`: the record was changed. Run `intellirouter doctor --audit`"
        )


@bill_group.command("close")
@month_option
@organization_option
@timezone_option
@_home
@row_options
def close_command(
    month: str | None, organization: str | None, zone: str | None, home: Path | None, to: RowOutput
) -> None:
    """Freeze the bills of a month that is over. Later changes are restatements."""
    from pipelines.flow import close_month
    from pipelines.reports import periods

    if month is None:
        raise click.UsageError("name the month with --month, such as --month 2026-11")
    settings = _settings(home)
    named = None if zone is None else periods.zone_of(settings, named=zone)
    closing = close_month(settings, month, organization=organization, zone=named)
    facts = [
        {"month": bill.month, "organization_id": bill.organization_id, "time_zone": bill.time_zone}
        | {"file": str(closing.path), "sha256": closing.sha256}
        for bill in closing.bills
    ]
    lines = [
        f"closed {bill.month} of {bill.organization_id or 'no organisation'} in {bill.time_zone}"
        for bill in closing.bills
    ]
    to.write(facts, [*lines, f"{closing.path}, SHA-256 {closing.sha256}"])


COMMANDS: list[click.Command] = [
    bill_group,
    refresh_command,
    rebuild_command,
    compact_command,
    admit_command,
    retention_command,
    erase_command,
    doctor_command,
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
