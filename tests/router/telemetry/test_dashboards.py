"""The dashboard and the alert rules ask for metrics and labels that `/metrics` prints."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import pytest
import yaml

from router.server.metrics import Metrics
from tests.factories import request_record
from tests.router.server.test_metrics import HEALTH

pytestmark = pytest.mark.smoke
PLACE = files("router.telemetry")
DASHBOARD: dict[str, Any] = json.loads((PLACE / "grafana.json").read_text())
RULES: list[dict[str, Any]] = yaml.safe_load((PLACE / "alerts.yaml").read_text())["groups"][0]["rules"]
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [*QUERIES, *(rule["expr"] for rule in RULES)]
FUNCTIONS = {"sum", "min", "max", "rate", "increase", "histogram_quantile", "by"}
FROM_PROMETHEUS = {"up", "instance", "job", "le", "or"}


def printed() -> tuple[set[str], set[str]]:
    """Names of series, and of labels, of a server that served one request and knows a budget."""
    metrics = Metrics()
    metrics.observe(request_record(model_selected="small", provider="fake", latency_ms=5.0, cost_usd=None))
    metrics.count_error("server_error")
    charged = {"team": {"charged": 1, "limit": 2}}
    ejected = {"ejected": {"small": 9.0}, "breakers": {}}
    text = metrics.text(
        {
            **HEALTH,
            "limits": {"unchecked": 0, "charged_usd": charged},
            "breakers": ejected,
            "exploration": {"usd_today": {"balanced": 0.1}},
        }
    )
    names = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return names, set(re.findall(r'[{,](\w+)="', text)) | {"kind"}


def words(expression: str) -> set[str]:
    """The names in an expression. Texts, durations and Grafana's variables are left out."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    return set(re.findall(r"(?<![\w.])[a-z_]\w*", bare))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_for_what_is_printed(expression: str) -> None:
    """A metric or a label that was renamed would leave a panel or an alert silent for ever."""
    names, labels = printed()
    assert words(expression) <= names | labels | FUNCTIONS | FROM_PROMETHEUS
    assert words(expression) & (names | {"up"})
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)


def test_a_metric_that_is_not_printed_is_found() -> None:
    """The names of an expression are all seen."""
    assert words('sum by (model) (rate(intellirouter_gone{job=~"x"}[5m])) > 1e6') == {
        "sum", "by", "model", "rate", "intellirouter_gone", "job",
    }  # fmt: skip


def test_every_alert_says_what_to_do() -> None:
    """An alert has a name of its own, a severity, a summary and an action."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "action"}


def test_panels_have_places_of_their_own() -> None:
    """No panel lies over another, and none is wider than the dashboard."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
