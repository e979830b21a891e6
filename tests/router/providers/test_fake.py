"""The fake provider: scripted behaviour over real HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest

from router.errors import ConfigError
from router.providers.fake import FakeProvider, ProcessError
from router.providers.fake.answers import Answerer, usage_json
from router.providers.fake.script import Script, load_script
from router.providers.fake.table import read_outcomes
from tests.pipelines.replay.worlds import ROWS, write_outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MESSAGES = [{"role": "user", "content": "2 + 2?"}]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    provider = FakeProvider(
        {
            "models": {
                "plain": {
                    "answer": "it is four",
                    "tokens_input": 10,
                    "tokens_output": 5,
                    "cost_usd": "0.000000123456",
                },
                "silent": {},
                "busy": {"error_rate": 1, "error_status": 429, "retry_after": "7"},
                "slow": {"latency_ms": 150},
                "garbled": {"body": "not-json"},
            }
        }
    )
    with provider:
        yield provider


def ask(fake: FakeProvider, model: str, **members: Any) -> httpx.Response:
    return httpx.post(
        f"{fake.base_url}/chat/completions",
        json={"model": model, "messages": MESSAGES, **members},
        trust_env=False,
    )


def test_answer(fake: FakeProvider) -> None:
    """An answer has OpenAI's shape, the scripted text and usage, and the cost to its last digit."""
    body = orjson.loads(ask(fake, "plain").content)
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "it is four"}
    assert body["usage"]["prompt_tokens"] == 10
    assert body["usage"]["total_tokens"] == 15
    assert Decimal(str(body["usage"]["cost"])) == Decimal("0.000000123456")


def test_unknown_usage_is_absent(fake: FakeProvider) -> None:
    """A script without token counts gives an answer without `usage`, not one with zeros."""
    assert "usage" not in ask(fake, "silent").json()


def test_stream(fake: FakeProvider) -> None:
    """A stream's pieces add up to the answer, its usage comes last, before [DONE]."""
    text = ask(fake, "plain", stream=True, stream_options={"include_usage": True}).text
    events = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert events[-1] == "[DONE]"
    chunks = [orjson.loads(event) for event in events[:-1]]
    pieces = [choice["delta"].get("content", "") for chunk in chunks[:-1] for choice in chunk["choices"]]
    assert "".join(pieces) == "it is four"
    assert chunks[-1]["usage"]["completion_tokens"] == 5


def test_scripted_error(fake: FakeProvider) -> None:
    """A scripted failure has its status, its Retry-After and OpenAI's error shape."""
    answer = ask(fake, "busy")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["error"]["code"] == "scripted_error"


def test_latency(fake: FakeProvider) -> None:
    """Waiting requests do not wait for one another."""
    with ThreadPoolExecutor(8) as pool:
        took = [answer.elapsed.total_seconds() for answer in pool.map(lambda _: ask(fake, "slow"), range(8))]
    # The loop counts whole milliseconds from a cached clock, so a wait may end that much early.
    assert min(took) >= 0.15 - 0.002
    assert max(took) < 8 * 0.15


def test_malformed_body(fake: FakeProvider) -> None:
    """A scripted malformed body is a 200 that no JSON parser takes."""
    answer = ask(fake, "garbled")
    assert answer.status_code == 200
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.content)


def test_unknown_model(fake: FakeProvider) -> None:
    """An unknown model is a 404 that names it and the known ones."""
    answer = ask(fake, "plian")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert "`plian`" in answer.json()["error"]["message"]
    assert "plain" in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model": "plain"}', b'{"model": "plain", "messages": []}'])
def test_bad_request(fake: FakeProvider, body: bytes) -> None:
    """A body that is no chat completion is an error in OpenAI's shape."""
    answer = httpx.post(f"{fake.base_url}/chat/completions", content=body, trust_env=False)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_models_and_seen(fake: FakeProvider) -> None:
    """The models are listed, and a test can see what reached the provider."""
    listed = httpx.get(f"{fake.base_url}/models", trust_env=False).json()["data"]
    assert [row["id"] for row in listed] == ["busy", "garbled", "plain", "silent", "slow"]
    before = fake.seen()["calls"].get("silent", 0)
    ask(fake, "silent", temperature=0.25)
    assert fake.seen()["calls"]["silent"] == before + 1
    assert fake.seen()["last"]["body"]["temperature"] == 0.25


def test_refused_script() -> None:
    """A process that cannot start is an error that quotes what it said."""
    with (
        pytest.raises(ProcessError, match=r"models\.m\.answr"),
        FakeProvider({"models": {"m": {"answr": ""}}}),
    ):
        pass


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("{", "Invalid JSON"),
        ("{}", "names no model"),
        ('{"models": {"m": {"error_rate": 2}}}', "models.m.error_rate"),
        ('{"models": {"m": {}}, "changes": [{"step": 1, "set": {}}]}', "give `outcomes` too"),
    ],
)
def test_script_errors(tmp_path: Path, script: str, complaint: str) -> None:
    """An unusable script names its file and the place."""
    path = tmp_path / "script.json"
    path.write_text(script)
    with pytest.raises(ConfigError, match=r"script\.json") as caught:
        load_script(path)
    assert complaint in str(caught.value)


def answerer(tmp_path: Path, **members: Any) -> Answerer:
    path = write_outcomes(tmp_path / "outcomes.parquet", ROWS)
    return Answerer(Script.model_validate({"outcomes": {"file": str(path)}, **members}))


def completion(answerer: Answerer, model: str, item: str, step: int = 0) -> dict[str, Any]:
    answer = answerer.answer(
        {"model": model, "messages": MESSAGES, "metadata": {"item_id": item, "step": str(step)}}
    )
    body: dict[str, Any] = orjson.loads(answer.body)
    return {"status": answer.status, "delay_s": answer.delay_s, **body}


def quality(body: dict[str, Any]) -> float:
    value: float = orjson.loads(body["choices"][0]["message"]["content"])["quality"]
    return value


def test_outcome_lookup(tmp_path: Path) -> None:
    """A recorded outcome gives the answer's quality, usage, exact cost and scaled latency."""
    path = write_outcomes(tmp_path / "outcomes.parquet", ROWS)
    script = Script.model_validate({"outcomes": {"file": str(path), "latency_scale": 0.5}})
    body = completion(Answerer(script), "good", "item-1")
    assert quality(body) == 1.0
    assert body["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "cost": 0.003,
    }
    assert body["delay_s"] == pytest.approx(0.4)


def test_null_usage_is_absent(tmp_path: Path) -> None:
    """An outcome whose tokens and cost are null gives an answer without `usage`."""
    assert "usage" not in completion(answerer(tmp_path), "unpriced", "item-2")


def test_unknown_item(tmp_path: Path) -> None:
    """An item that is not in the table is a 404 that names it, or the model's default answer."""
    body = completion(answerer(tmp_path), "good", "item-99")
    assert body["status"] == 404
    assert "`item-99`" in body["error"]["message"]
    with_default = answerer(tmp_path, models={"good": {"answer": "dunno"}})
    assert completion(with_default, "good", "item-99")["choices"][0]["message"]["content"] == "dunno"
    assert quality(completion(with_default, "good", "item-1")) == 1.0


def test_change(tmp_path: Path) -> None:
    """From its step on, a changed model has the other's quality and its own cost."""
    changed = answerer(tmp_path, changes=[{"step": 10, "set": {"good": "bad"}}])
    before, after = completion(changed, "good", "item-1", 9), completion(changed, "good", "item-1", 10)
    assert (quality(before), quality(after)) == (1.0, 0.0)
    assert before["usage"] == after["usage"]
    assert quality(completion(changed, "bad", "item-1", 10)) == 0.0


def test_change_of_unknown_model(tmp_path: Path) -> None:
    """A change that names a model without outcomes is refused at the start."""
    with pytest.raises(ConfigError, match="`godo`"):
        answerer(tmp_path, changes=[{"step": 1, "set": {"godo": "bad"}}])


def test_seeded_errors() -> None:
    """The same seed fails the same requests of a model, at the scripted rate; other models do not matter."""

    def failures(seed: int, *, with_others: bool) -> list[bool]:
        script = {"seed": seed, "models": {"flaky": {"error_rate": 0.3}, "other": {"error_rate": 0.5}}}
        fake = Answerer(Script.model_validate(script))
        failed = []
        for _ in range(1000):
            if with_others:
                fake.answer({"model": "other", "messages": MESSAGES})
            failed.append(fake.answer({"model": "flaky", "messages": MESSAGES}).status == 500)
        return failed

    assert failures(1, with_others=False) == failures(1, with_others=True)
    assert failures(1, with_others=False) != failures(2, with_others=False)
    assert 0.25 < sum(failures(1, with_others=False)) / 1000 < 0.35


@pytest.mark.parametrize("amount", ["0", "0.1", "0.000000000001", "12345678.123456789012", "1E+2"])
def test_cost_digits(amount: str) -> None:
    """A cost is printed without an exponent and with every digit."""
    usage = usage_json(None, None, cost_usd=Decimal(amount))
    assert usage is not None
    printed = usage.decode().removeprefix('{"cost":').removesuffix("}")
    assert "E" not in printed.upper()
    assert Decimal(printed) == Decimal(amount)


def test_missing_column(tmp_path: Path) -> None:
    """An outcomes file without a column it needs names the file and the column."""
    path = write_outcomes(tmp_path / "outcomes.parquet", [{"item_id": "a", "model": "m", "quality": 1.0}])
    with pytest.raises(ConfigError, match=r"outcomes\.parquet.*`cost_usd`"):
        read_outcomes(path)


def test_not_parquet(tmp_path: Path) -> None:
    """A file that is no Parquet, or no file, is named."""
    path = tmp_path / "outcomes.parquet"
    with pytest.raises(ConfigError, match=r"no file .*outcomes\.parquet"):
        read_outcomes(path)
    path.write_text("item_id,model\n")
    with pytest.raises(ConfigError, match=r"outcomes\.parquet.* cannot be read"):
        read_outcomes(path)
