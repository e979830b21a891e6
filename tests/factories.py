"""Records and catalogs for tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from router.records import Candidate, FeedbackRecord, RequestRecord, new_id

if TYPE_CHECKING:
    from collections.abc import Sequence


def request_record(**changes: Any) -> RequestRecord:
    """A successful request of now; `changes` replace fields."""
    request_id, timestamp = new_id()
    values: dict[str, Any] = {
        "id": request_id,
        "timestamp": timestamp,
        "environment": "test",
        "task_type": "math",
        "task_type_source": "caller",
        "model_requested": "auto",
        "model_selected": "small",
        "policy_id": "balanced",
        "policy_version": 1,
        "config_hash": "0" * 16,
        "strategy": "thompson",
        "propensity": 0.5,
        "reason": "test",
        "candidates": [Candidate(model="small", is_eligible=True, probability=0.5)],
        "success": True,
        "latency_ms": 12.5,
    }
    return RequestRecord(**{**values, **changes})


def feedback_record(request_id: str, value: float, **changes: Any) -> FeedbackRecord:
    """A judgement of now."""
    feedback_id, created_at = new_id()
    values: dict[str, Any] = {
        "feedback_id": feedback_id,
        "request_id": request_id,
        "metric": "quality",
        "value": value,
        "created_at": created_at,
    }
    return FeedbackRecord(**{**values, **changes})


def write_catalog(
    home: Path,
    models: Sequence[str | dict[str, Any]] = ("small", "large"),
    *,
    base_url: str = "http://127.0.0.1:9/v1",
    tasks: Sequence[str] = ("math", "code", "chat"),
    **provider: Any,
) -> Path:
    """A catalog.yaml of `models` (ids, or entries) at one provider named `fake`."""
    entries = [{"id": model} if isinstance(model, str) else model for model in models]
    content = {
        "providers": {"fake": {"kind": "openai", "base_url": base_url, **provider}},
        "models": [{"provider": "fake", **entry} for entry in entries],
        "tasks": list(tasks),
    }
    home.mkdir(parents=True, exist_ok=True)
    path = home / "catalog.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
