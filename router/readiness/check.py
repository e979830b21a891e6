"""`intellirouter config check`: every setting in force, every document, and the health of the folder.

It opens no router and writes nothing. Documents and keys are those of the data folder, or of DATABASE_URL.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from pydantic import SecretStr

from router.catalog.catalog import unpriced, unpriced_line
from router.config import Settings
from router.configuration.checking import OTHERS, deciding
from router.configuration.documents import EDITED, LIMITS
from router.configuration.opening import open_source
from router.configuration.unlisted import remedy, unlisted_organizations
from router.decision.eligibility import standing_exclusions
from router.documents import hidden, parse_yaml
from router.errors import MASK, IntelliRouterError, UnknownPolicyError
from router.keys.opening import open_key_store
from router.limits.book import LimitBook, LimitsFile
from router.limits.limits import Limits, check_retention
from router.policies.policy import check_baseline
from router.readiness.probes import disk_faults, limit_faults, score_faults, warehouse_faults
from router.scores.snapshot import ScoreSnapshot
from router.settings.names import OTHER_NAMES, misspelt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from router.configuration.checking import Deciding
    from router.settings.environment import Origin, Variables


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """One setting."""

    name: str
    value: str
    """With every secret masked."""
    origin: Origin


@dataclass(slots=True, kw_only=True)
class Report:
    """The result of a check."""

    settings: list[InForce] = field(default_factory=list)
    good: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    """Lines that ask for a look. Nothing is refused for them."""
    problems: list[str] = field(default_factory=list)

    def attempt(self, what: Callable[[], str | None]) -> None:
        """Add the line that `what` gives to the good ones, or its error to the problems."""
        try:
            line = what()
        except (IntelliRouterError, OSError) as error:
            if str(error) not in self.problems:  # the server of documents and keys is one
                self.problems.append(str(error))
        else:
            if line is not None:
                self.good.append(line)


def check(variables: Variables, home: Path | None = None) -> Report:
    """Look at everything. `home` is the data folder that an argument names."""
    report = Report()
    settings: Settings | None = None
    try:
        settings = Settings.load(variables.merged, home=home)
    except IntelliRouterError as error:
        report.problems.append(str(error))
    found: Deciding | None = None
    if settings is not None:
        report.settings = list(in_force(settings, variables, is_home_given=home is not None))
        found = _documents(settings, report)
        _folder(settings, report)
    keys = [] if found is None else [name for _, name in _key_names(found)]
    names = [name for name, _, _ in Settings.describe()]
    report.problems += [str(item) for item in misspelt(variables, [*names, *keys])]
    if found is not None:
        _provider_keys(found, variables, report)
    return report


def in_force(settings: Settings, variables: Variables, *, is_home_given: bool) -> Iterator[InForce]:
    """Every setting, in order."""
    others = {name: other for other, name in OTHER_NAMES.items()}
    for name, item in Settings.model_fields.items():
        value = getattr(settings, name)
        alias = str(item.alias)
        is_argument = name == "home" and is_home_given
        yield InForce(
            name=alias,
            value="" if value is None else MASK if isinstance(value, SecretStr) else hidden(str(value)),
            origin="argument" if is_argument else variables.origin_of(alias, others.get(alias, alias)),
        )


def _documents(settings: Settings, report: Report) -> Deciding | None:
    home = settings.home
    found: list[Deciding] = []
    documents: dict[str, bytes] = {}

    def read() -> None:
        with closing(open_source(settings)) as source:
            documents.update(source.read())

    def decide() -> str:
        decides = deciding(documents, home)
        if settings.default_policy not in decides.policies.by_id:
            raise UnknownPolicyError(
                settings.default_policy, decides.policies.by_id, setting="DEFAULT_POLICY"
            )
        check_baseline(settings.baseline_model, decides.policies, decides.catalog)
        found.append(decides)
        models, policies = len(decides.catalog.models), len(decides.policies.by_id)
        return (
            f"catalog, policies and experiments: {models} models, {policies} policies,"
            f" {len(decides.experiments)} experiments, config_hash {decides.config_hash}"
        )

    def parse(name: str) -> str:
        OTHERS[name](documents[name], home / name)
        if name == LIMITS:
            check_retention(LimitBook(parse_yaml(documents[name], LimitsFile, home / name)), settings)
        return f"{name}: usable"

    report.attempt(read)
    if not report.problems:
        report.attempt(decide)
    for name in EDITED:
        if name in OTHERS and name in documents:
            report.attempt(partial(parse, name))
    report.attempt(lambda: _keys(settings))
    if found and not report.problems:  # each part can be read
        lacking = unpriced(found[0].catalog.models.values(), datetime.now(UTC))
        report.notices += [unpriced_line(lacking)] if lacking else []
        report.notices += [
            f"organizations.yaml lacks `{name}`: {remedy(places)}"
            for name, places in unlisted_organizations(documents, settings).items()
        ]
    return found[0] if found else None


def _keys(settings: Settings) -> str:
    place = "keys.json" if settings.database_url is None else "DATABASE_URL"
    with closing(open_key_store(settings)) as store:
        return f"{place}: {len(store.read().keys)} keys"


def _folder(settings: Settings, report: Report) -> None:
    if not settings.home.is_dir():
        report.problems.append(f"there is no data folder `{settings.home}`: run `intellirouter init`")
        return
    snapshot: list[ScoreSnapshot] = []

    def scores() -> str | None:
        if not settings.scores_file.exists():
            return "scores: none yet"
        snapshot.append(ScoreSnapshot.read(settings.scores_file))
        return f"scores: {len(snapshot[0].rows)} rows as of {snapshot[0].as_of:%Y-%m-%d %H:%M} UTC"

    report.attempt(scores)
    faults = [*disk_faults(settings), *warehouse_faults(settings)]
    faults += score_faults(settings, snapshot[0] if snapshot else None)
    if settings.limits_store_in_use == "redis":
        try:
            limits = Limits.open(settings)
            faults += limit_faults(limits)
            limits.close()
        except IntelliRouterError as error:
            if str(error) not in report.problems:  # a broken limits.yaml is among them already
                report.problems.append(str(error))
    report.problems += [str(fault) for fault in faults]
    if not faults:
        report.good.append("disk, published warehouse and scores: in order")


def _provider_keys(found: Deciding, variables: Variables, report: Report) -> None:
    for provider, name in _key_names(found):
        is_set = bool(variables.merged.get(name, "").strip())
        state = f"set in {variables.origin_of(name)}" if is_set else "not set"
        report.good.append(f"key of provider {provider}: {name} is {state}")
    standing = standing_exclusions(found.catalog, variables.merged)
    if len(standing) == len(found.catalog.models):
        reasons = "; ".join(sorted(set(standing.values()))) or "the catalog lists no model"
        report.problems.append(f"no model can be asked: {reasons}")


def _key_names(found: Deciding) -> Iterator[tuple[str, str]]:
    for name, provider in found.catalog.providers.items():
        for variable in provider.key_variables:
            yield name, variable
