"""JSON Schemas and the reference of the documents: every member is in them, as the readers take it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from router.catalog.catalog import EXAMPLE_FILE
from router.configuration.schemas import DOCUMENTS, REFERENCE, described, markdown, schema_of
from router.errors import ConfigError
from tests.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

PROVIDER = {"kind": "openai", "base_url": "https://api.example.com/v1"}
GOOD: dict[str, Any] = {
    "catalog.yaml": {"providers": {"p": PROVIDER}, "models": [{"id": "m", "provider": "p"}]},
    "policies.yaml": {
        "policies": [{"id": "support", "version": 3, "usd_per_quality_point": 0.002}],
        "assignments": {"users": {"u-17": "quality"}},
        "preferences": {"users": {"u-17": {"ignore": ["gpt-4o"]}}},
    },
    "limits.yaml": {
        "limits": [{"scope": "key", "subject": "*", "requests": 60, "per": "minute"}],
        "budgets": [
            {"id": "a", "scope": "user", "subject": "*", "usd": 5, "period": "day", "mode": "hard"},
            {
                "id": "b",
                "scope": "user",
                "subject": "u",
                "usd": 1,
                "period": "day",
                "mode": "soft",
                "alert_at": 0.8,
            },
        ],
    },
    "experiments.yaml": {
        "experiments": [
            {
                "id": "cheap",
                "start": "2026-01-01",
                "variants": [
                    {"name": "a", "share": 0.5, "policy": "x"},
                    {"name": "b", "share": 0.5, "model": "m"},
                ],
            }
        ]
    },
    "organizations.yaml": {"organizations": [{"id": "acme", "mark_up": 0.15}]},
    "retention.yaml": {"legal_holds": [{"user": "u-17", "reason": "case", "since": "2026-11-03"}]},
}


def errors_of(document: str, content: Any) -> list[str]:
    """The faults that an editor underlines."""
    validator = jsonschema.Draft202012Validator(schema_of(document))
    return [error.message for error in validator.iter_errors(content)]


def plain(text: str) -> Any:
    """YAML as an editor sees it: dates are texts."""
    return json.loads(json.dumps(yaml.safe_load(text), default=str))


@pytest.mark.smoke
@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_that_loads_has_no_fault_in_an_editor(document: str) -> None:
    """The class reads it, and the schema takes it."""
    DOCUMENTS[document].model_validate(GOOD[document])
    assert errors_of(document, GOOD[document]) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_an_unknown_member_is_a_fault(document: str) -> None:
    """A misspelt member is underlined where it is written."""
    content = json.loads(json.dumps(GOOD[document]))
    content["modells"] = []
    assert any("modells" in fault for fault in errors_of(document, content))


def test_the_example_catalog_has_no_fault() -> None:
    """The file that `init` writes."""
    assert errors_of("catalog.yaml", plain(EXAMPLE_FILE.read_text())) == []


@pytest.mark.parametrize(
    ("document", "path", "value"),
    [
        ("catalog.yaml", ["providers", "p", "kind"], "opanai"),
        ("catalog.yaml", ["models", 0, "context_window"], -1),
        ("policies.yaml", ["policies", 0, "cost_weight"], "cheap"),
        ("policies.yaml", ["preferences", "users", "u-17", "ignores"], []),
        ("limits.yaml", ["budgets", 0, "alert_at"], 2),
        ("limits.yaml", ["budgets", 0, "mode"], "firm"),
        ("experiments.yaml", ["experiments", 0, "variants"], []),
        ("organizations.yaml", ["organizations", 0, "mark_up"], -1),
        ("retention.yaml", ["legal_holds", 0, "reason"], ""),
    ],
)
def test_a_value_out_of_bounds_is_a_fault(document: str, path: list[Any], value: Any) -> None:
    """Kinds, bounds and lengths are in the schema."""
    content = json.loads(json.dumps(GOOD[document]))
    part = content
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    assert errors_of(document, content)


def members_of(kind: type[BaseModel]) -> set[str]:
    """The names of a class's members."""
    return set(kind.model_fields)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_member_is_described(document: str) -> None:
    """In the schema, wherever a class is used."""
    schema = schema_of(document)
    parts = [schema, *schema.get("$defs", {}).values()]
    missing = [
        name
        for part in parts
        for name, member in part.get("properties", {}).items()
        if not member.get("description")
    ]
    assert missing == []
    assert members_of(DOCUMENTS[document]) == described(DOCUMENTS[document]).keys()


def test_the_reference_is_as_the_classes_say() -> None:
    """`python -m router.configuration.schemas` writes it."""
    assert REFERENCE.read_text() == markdown()


def test_every_link_of_the_reference_leads_to_a_heading() -> None:
    """A reader can follow the types."""
    text = REFERENCE.read_text()
    headings = {heading.lower() for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\(#([\w-]+)\)", text)) <= headings


def test_an_unknown_document_is_named_with_the_nearest() -> None:
    """A typing error costs one line."""
    with pytest.raises(ConfigError, match=r"no document `polices`.*`policies\.yaml`"):
        schema_of("polices")


def test_the_command_writes_a_schema_for_each_document(tmp_path: Path) -> None:
    """With the line that connects a document with its schema."""
    command = [sys.executable, "-m", "router.cli", "schema", "--output", str(tmp_path / "schemas")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    written = sorted(path.name for path in (tmp_path / "schemas").iterdir())
    assert written == sorted(f"{name.removesuffix('.yaml')}.schema.json" for name in DOCUMENTS)
    assert done.stdout.count("# yaml-language-server: $schema=") == len(DOCUMENTS)
    assert json.loads((tmp_path / "schemas" / "limits.schema.json").read_text()) == schema_of("limits")
