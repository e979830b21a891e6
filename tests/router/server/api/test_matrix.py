"""Each API before each kind of provider: served, or refused by name, and never changed in silence.

python -m tests.router.server.api.test_matrix      prints the matrix
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
import yaml

from router import Router
from tests.router.providers.spelled import ANSWER, SpellingServer, spelling_server
from tests.router.providers.weather import PLEASE, SENTENCE
from tests.router.server.api.loops import SCHEMA
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

SHAPES = ("chat", "messages", "responses")
KINDS = {
    "openai": "model_of_openai",
    "responses": "gpt-9",
    "anthropic": "claude-sonnet-4-6",
    "gemini": "gemini-3-pro",
    "bedrock": "anthropic.claude-sonnet-4-6",
}
FEATURES = ("text", "tools", "images", "schema", "thinking", "errors")
PNG = "iVBORw0KGgo="
ANSWERS: dict[str, Any] = {
    "type": "object",
    "properties": {"zebra": {"type": "integer"}},
    "required": ["zebra"],
}
MARKS = {"text": "zebra", "tools": "get_weather", "images": PNG, "schema": "integer"}
"""A text that the provider's request must contain."""
EFFORTS = ("reasoning_effort", '"reasoning":', "output_config", '"thinking":', "thinkingConfig")
"""The names of an effort."""
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


def asked(shape: str, feature: str) -> dict[str, Any]:
    """A request with the feature, in the words of the client's API."""
    text = PLEASE if feature == "errors" else "a zebra"
    if shape == "chat":
        body: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "max_tokens": 5000}
        function = {"name": "get_weather", "parameters": SCHEMA}
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
        members: dict[str, dict[str, Any]] = {
            "tools": {"tools": [{"type": "function", "function": function}]},
            "images": {"messages": [{"role": "user", "content": [image]}]},
            "schema": {
                "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": ANSWERS}}
            },
            "thinking": {"reasoning_effort": "low"},
        }
    elif shape == "messages":
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 5000}
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        members = {
            "tools": {"tools": [{"name": "get_weather", "input_schema": SCHEMA}]},
            "images": {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]},
            "schema": {"output_config": {"format": {"type": "json_schema", "schema": ANSWERS}}},
            "thinking": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        }
    else:
        body = {"input": text, "max_output_tokens": 5000}
        part = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}
        members = {
            "tools": {"tools": [{"type": "function", "name": "get_weather", "parameters": SCHEMA}]},
            "images": {"input": [{"role": "user", "content": [part]}]},
            "schema": {"text": {"format": {"type": "json_schema", "name": "a", "schema": ANSWERS}}},
            "thinking": {"reasoning": {"effort": "low"}},
        }
    return {**body, **members.get(feature, {})}


@contextmanager
def running(home: Path) -> Iterator[tuple[str, SpellingServer]]:
    """A shim before a provider of each kind."""
    with spelling_server() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MATRIX_KEY", "a-key-of-nobody")
        host = server.base_url.removesuffix("/v1")
        key = {"api_key_env": "MATRIX_KEY"}
        providers: dict[str, dict[str, Any]] = {
            "openai": {"kind": "openai", "base_url": server.base_url},
            "responses": {"kind": "openai", "base_url": server.base_url, "apis": ["responses"]},
            "anthropic": {"kind": "anthropic", "base_url": server.base_url},
            "gemini": {"kind": "gemini", "base_url": f"{host}/v1beta", **key},
            "bedrock": {"kind": "bedrock", "base_url": host, "region": "eu-west-1", **key},
        }
        models = [{"id": model, "provider": kind} for kind, model in KINDS.items()]
        (home / "catalog.yaml").write_text(yaml.safe_dump({"providers": providers, "models": models}))
        router = Router.open(
            home=home, seed=1, task_sample_share=0, max_retries=0, health_max_ejected_share=0
        )
        with serving(router) as url:
            yield url, server


def verdict(
    url: str, server: SpellingServer, shape: str, kind: str, feature: str, *, is_streamed: bool
) -> str:
    """`served`, `refused by name`, or the way in which the request or its answer was changed."""
    server.bodies.clear()
    body = {"model": KINDS[kind], "stream": is_streamed, **asked(shape, feature)}
    answer = httpx.post(url + PATHS[shape], json=body)
    sent = orjson.dumps(server.bodies).decode()
    if feature == "errors" and server.bodies:
        is_said = answer.status_code == 400 and SENTENCE in answer.text
        return "served" if is_said else f"changed: {answer.text}"
    if answer.status_code != 200:
        is_named = answer.status_code in (400, 503) and "model" in answer.text and not server.bodies
        return "refused by name" if is_named else f"changed: {answer.text}"
    if feature == "thinking":
        is_sent = any(name in sent for name in EFFORTS) or "thinking" in answer.headers.get(
            "x-intellirouter-ignored", ""
        )
    else:
        is_sent = MARKS[feature] in sent
    said = answer.text.replace("\\", "")
    is_answered = (
        ("Rome" in said and "Oslo" in said)
        if feature == "tools"
        else all(word in said for word in ANSWER.split())
    )
    return "served" if is_sent and is_answered else f"changed: {sent} became {answer.text}"


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, SpellingServer]]:
    """The running shim."""
    with running(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_changed_in_silence(
    shim: tuple[str, SpellingServer], shape: str, kind: str, feature: str, is_streamed: bool
) -> None:
    """Each API reaches each kind; only a model of the responses API alone refuses the others."""
    expected = "refused by name" if kind == "responses" and shape != "responses" else "served"
    assert verdict(*shim, shape, kind, feature, is_streamed=is_streamed) == expected


def main() -> None:
    """Print the matrix: a row for each API and kind, a cell for each feature (whole, streamed)."""
    signs = {"served": "served", "refused by name": "refused"}
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as home, running(Path(home)) as (url, server):
        sys.stdout.write(
            f"{'client':<10} {'provider':<10} " + " ".join(f"{name:<16}" for name in FEATURES) + "\n"
        )
        for shape in SHAPES:
            for kind in KINDS:
                cells = []
                for feature in FEATURES:
                    found = [
                        verdict(url, server, shape, kind, feature, is_streamed=is_streamed)
                        for is_streamed in (False, True)
                    ]
                    total.update(signs.get(cell, "changed") for cell in found)
                    cells.append("/".join(dict.fromkeys(signs.get(cell, "CHANGED") for cell in found)))
                sys.stdout.write(
                    f"{shape:<10} {kind:<10} " + " ".join(f"{cell:<16}" for cell in cells) + "\n"
                )
    sys.stdout.write(f"{dict(total)}\n")


if __name__ == "__main__":
    main()
