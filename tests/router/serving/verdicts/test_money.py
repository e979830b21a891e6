"""A cost is exact or NULL: it covers all that the answer says was charged."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.replaying import CHATS, DONE, PRICE, USAGE, Reply, World, chunk, replaying, sse, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RICH = {
    **PRICE,
    "reasoning_usd_per_mtok": "20",
    "audio_input_usd_per_mtok": "4",
    "audio_output_usd_per_mtok": "40",
    "web_search_usd": "0.01",
    "service_tiers": {
        "flex": {"input_usd_per_mtok": "0.5", "output_usd_per_mtok": "5"},
        "priority": {"input_usd_per_mtok": "2", "output_usd_per_mtok": "20"},
    },
}
PLAIN = Decimal("0.002")
BYOK = {"prompt_tokens": 9171, "completion_tokens": 113, "total_tokens": 9284, "is_byok": True,
        "cost_details": {"upstream_inference_cost": 0.0360795}}  # fmt: skip
CACHED = {"cached_tokens": 400}
THOUGHT = {"reasoning_tokens": 50}
C_USAGE = {"input_tokens": 1000, "output_tokens": 100}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Models with few rates, with many, with the provider's own costs."""
    models: dict[str, dict[str, Any]] = {
        "rich": {"prices": [RICH]},
        "reported": {"cost_source": "provider"},
        "dated-4": {"answers_as": ["the-alias"]},
        "cheap": {"prices": [{**PRICE, "input_usd_per_mtok": "0.1", "output_usd_per_mtok": "1"}]},
        "rich-claude": {"provider": "ant", "prices": [RICH]},
        "rich-native": {"apis": ["chat", "responses"], "prices": [RICH]},
        "flex-arm": {"prices": [RICH], "parameters": {"forced": {"service_tier": "flex"}}},
        "tier-by-default": {"prices": [RICH], "parameters": {"default": {"service_tier": "priority"}}},
        "searching": {"prices": [RICH], "provider_model": "gpt-4o-search-preview"},
        "search-arm": {"prices": [RICH], "parameters": {"forced": {"web_search_options": {}}}},
    }
    with replaying(tmp_path_factory.mktemp("world"), models=models) as opened:
        yield opened


def used(usage: Any, **more: Any) -> Callable[[dict[str, Any]], Any]:
    """An answer with this usage, whole or streamed."""

    def answer(request: dict[str, Any]) -> Any:
        if not request.get("stream"):
            return {**whole({"content": "x"}, **more), "usage": usage}
        last = {**chunk({}, **more), "choices": [], "usage": usage}
        return [chunk({"role": "assistant", "content": "x"}, **more), chunk({}, "stop", **more), last, DONE]

    return answer


def message(usage: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """Anthropic's answer with this usage, whole or streamed."""

    def answer(request: dict[str, Any]) -> Any:
        head = {"id": "m", "type": "message", "role": "assistant", "model": request["model"]}
        body = {**head, "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn", "usage": usage}
        if not request.get("stream"):
            return body
        return [
            {"type": "message_start", "message": {**body, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "x"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
            {"type": "message_stop"},
        ]

    return answer


def cost(world: World, answer: Any, model: str = "one", **members: Any) -> Decimal | None:
    """The cost of an answer, which is the same on every API, whole and streamed, for client and record."""
    costs = set()
    for api in CHATS:
        for streamed in (False, True):
            seen = world.served(answer, api, model, stream=streamed, **members)
            assert seen.record.success, seen.text
            costs.add(seen.record.cost_usd)
            assert (seen.record.price_id is None) == (seen.record.cost_usd is None)
    (only,) = costs
    return only


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (USAGE, PLAIN),
        # Gemini's thoughts are in the total only; others count reasoning or the cache beside their whole.
        ({"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}, Decimal("0.00605")),
        ({**USAGE, "total_tokens": 1150, "completion_tokens_details": THOUGHT}, Decimal("0.0025")),
        ({**USAGE, "total_tokens": 1500, "prompt_tokens_details": CACHED}, Decimal("0.00204")),
        ({**USAGE, "completion_tokens_details": {"reasoning_tokens": 50}}, PLAIN),
        ({**USAGE, "total_tokens": 1150, "completion_tokens_details": {"reasoning_tokens": 30}}, None),
        ({**USAGE, "total_tokens": 900}, None),
        ({**USAGE, "total_tokens": 0}, PLAIN),
        ({**USAGE, "total_tokens": None}, PLAIN),
        ({**USAGE, "prompt_tokens_details": {"audio_tokens": 900}}, None),
        ({**USAGE, "completion_tokens_details": {"audio_tokens": 90}}, None),
        ({**USAGE, "prompt_tokens_details": {"audio_tokens": 0, "image_tokens": 0}}, PLAIN),
        ({**USAGE, "prompt_tokens_details": {"image_tokens": 10}}, None),
        ({**USAGE, "completion_tokens_details": {"image_tokens": 10}}, None),
        ({**USAGE, "prompt_tokens_details": {"video_tokens": 10}}, None),
        ({**USAGE, "completion_tokens_details": {"rejected_prediction_tokens": 9}}, PLAIN),
        ({**USAGE, "server_tool_use": {"web_search_requests": 5}}, None),
        ({**USAGE, "server_tool_use": {"web_search_requests": 0}}, PLAIN),
        ({**USAGE, "server_tool_use": {"web_fetch_requests": 5}}, PLAIN),
        ({**USAGE, "server_tool_use": {"code_execution_requests": 1}}, None),
        ({**USAGE, "num_search_queries": 2}, None),
        ({**USAGE, "citation_tokens": 20}, None),
        ({**USAGE, "num_sources_used": 3}, None),
        ({**USAGE, "prompt_audio_seconds": 12}, None),
        ({**USAGE, "fee_units_of_tomorrow": 1, "queue_time": 0.1, "total_time": 2}, PLAIN),
        ({**USAGE, "tool_tokens": 7}, None),
        ({**USAGE, "queue_time": 0.2, "prompt_time": 0.1, "completion_time": 0.3, "total_time": 0.4}, PLAIN),
        ({**USAGE, "service_tier": "priority"}, None),
        ({**USAGE, "cost": 0.5}, PLAIN),
        # In the names of the responses API, and in Anthropic's, whose input leaves the cache out.
        (C_USAGE, PLAIN),
        ({**C_USAGE, "total_tokens": 1100, "input_tokens_details": CACHED}, Decimal("0.00164")),
        ({**C_USAGE, "output_tokens_details": THOUGHT}, PLAIN),
        ({**C_USAGE, "cache_read_input_tokens": 1000}, Decimal("0.0021")),
        ({**C_USAGE, "total_tokens": 1100, "cache_read_input_tokens": 0}, PLAIN),
        ({**C_USAGE, "code_execution_requests": 1}, None),
        ({"input_tokens": 1000}, None),
        ({"input_tokens": "many", "output_tokens": 100}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_a_cost_covers_what_the_usage_says(world: World, usage: Any, expected: Decimal | None) -> None:
    """Each count that may be charged has a rate, or the cost is unknown."""
    assert cost(world, used(usage)) == expected


@pytest.mark.parametrize("usage", [USAGE, C_USAGE])
@pytest.mark.parametrize("place", ["x_groq", "choice"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_usage_in_another_place_is_read(world: World, usage: Any, place: str, streamed: bool) -> None:
    """Groq's own member, or the last choice: client and record have its counts and its cost."""
    message = {"role": "assistant", "content": "x"}
    last: dict[str, Any] = chunk({}, "stop") if streamed else whole({"content": "x"})
    if place == "x_groq":
        last["x_groq"] = {"id": "req_1", "usage": usage}
    else:
        last["choices"][0]["usage"] = usage
    last.pop("usage", None)
    world.answers["one"] = [chunk(message), last, DONE] if streamed else last
    options = {"stream_options": {"include_usage": True}} if streamed else {}
    seen = world.ask("chat", "one", stream=streamed, **options)
    assert (seen.record.success, seen.record.cost_usd) == (True, PLAIN)
    assert '"prompt_tokens":1000' in seen.text.replace(" ", "")


def test_the_usage_of_one_choice_of_several_is_a_part(world: World) -> None:
    """No sum says which parts hold the prompt, so that the cost is unknown."""
    answer = whole({"content": "x"})
    answer.pop("usage", None)
    choice = {**answer["choices"][0], "usage": USAGE}
    world.answers["one"] = {**answer, "choices": [choice, {**choice, "index": 1}]}
    seen = world.ask("chat", "one", n=2)
    assert (seen.record.success, seen.record.cost_usd) == (True, None)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({**USAGE, "prompt_tokens_details": {"audio_tokens": 900}}, Decimal("0.0047")),
        ({**USAGE, "completion_tokens_details": {"audio_tokens": 90}}, Decimal("0.0047")),
        ({**USAGE, "server_tool_use": {"web_search_requests": 5}}, Decimal("0.052")),
        ({**USAGE, "completion_tokens_details": {"reasoning_tokens": 50}}, Decimal("0.0025")),
        ({**USAGE, "prompt_tokens_details": {"image_tokens": 1}}, None),
    ],
)
def test_rates_for_sound_and_searches_make_a_cost(world: World, usage: Any, expected: Decimal | None) -> None:
    """Where the price row states them."""
    assert cost(world, used(usage), "rich") == expected


@pytest.mark.parametrize("tier", ["default", "standard", "on_demand", "auto", "", None])
def test_standard_tiers_cost_the_row_itself(world: World, tier: str | None) -> None:
    """In the words of OpenAI, Anthropic and Groq. Asked for priority and served default is default."""
    assert cost(world, used(USAGE, service_tier=tier)) == PLAIN
    assert cost(world, used(USAGE, service_tier=tier), "rich") == PLAIN


@pytest.mark.parametrize(
    ("tier", "expected"),
    [("flex", "0.001"), ("priority", "0.004"), ("FLEX", "0.001"), ("scale", None), ("batch", None)],
)
def test_the_tier_that_served_sets_the_price(world: World, tier: str, expected: str | None) -> None:
    """A rate stated for it, else NULL: no factor is right for all providers."""
    wanted = None if expected is None else Decimal(expected)
    assert cost(world, used(USAGE, service_tier=tier)) is None
    assert cost(world, used(USAGE, service_tier=tier), "rich") == wanted
    assert cost(world, used({**USAGE, "service_tier": tier}), "rich") == wanted
    seen = world.served(used(USAGE, service_tier=tier), "chat", "rich")
    assert seen.record.service_tier == tier


def test_a_tier_that_is_not_answered_is_unknown(world: World) -> None:
    """The server may or may not know what was asked of it."""
    for asked, expected in (("flex", None), ("auto", PLAIN), ("default", PLAIN)):
        seen = world.served(used(USAGE), "chat", "rich", service_tier=asked)
        assert seen.record.cost_usd == expected
    served = world.served(used(USAGE, service_tier="default"), "chat", "rich", service_tier="priority")
    assert served.record.cost_usd == PLAIN


def test_what_an_arm_asks_for_is_priced_as_if_the_client_had_asked(world: World) -> None:
    """A forced tier, a default tier that the client does not replace, a forced search."""
    assert cost(world, used(USAGE), "flex-arm") is None
    assert cost(world, used(USAGE, service_tier="flex"), "flex-arm") == Decimal("0.001")
    assert world.served(used(USAGE), "chat", "flex-arm", service_tier="default").record.cost_usd is None
    assert cost(world, used(USAGE), "tier-by-default") is None
    standard = world.served(used(USAGE), "chat", "tier-by-default", service_tier="default")
    assert standard.record.cost_usd == PLAIN
    assert cost(world, used(USAGE), "search-arm") is None


def test_a_hard_budget_reserves_what_an_arm_asks_for(tmp_path: Any) -> None:
    """At the rates of its tier, for its own bound and number of choices; a forced search has no bound."""
    budget = {
        "id": "small",
        "scope": "user",
        "subject": "ann",
        "usd": 0.001,
        "period": "day",
        "mode": "hard",
    }
    # Without rates for sound, which would be the dearest of every output token.
    tiered = {**PRICE, "web_search_usd": "0.01", "service_tiers": RICH["service_tiers"]}
    dear = {"prices": [tiered], "parameters": {"forced": {"service_tier": "priority"}}}
    models: dict[str, dict[str, Any]] = {
        "plain": {"prices": [tiered]},
        "priority-arm": dear,
        "two-answers": {"prices": [tiered], "parameters": {"forced": {"n": 2}}},
        "longer": {"prices": [tiered], "parameters": {"forced": {"max_tokens": 200}}},
        "searching": {"prices": [tiered], "parameters": {"forced": {"web_search_options": {}}}},
    }
    with replaying(tmp_path, models=models, files={"limits.yaml": {"budgets": [budget]}}) as world:
        for model in ("priority-arm", "two-answers", "longer", "searching"):
            seen = world.served(used(USAGE), "chat", model, user="ann", max_tokens=70)
            assert seen.status == 429, model
        assert world.served(used(USAGE), "chat", "plain", user="ann", max_tokens=70).status == 200


@pytest.mark.parametrize("streamed", [False, True])
def test_a_model_that_always_searches_is_charged_for_more_than_tokens(world: World, streamed: bool) -> None:
    """OpenAI's search models search for every request, and their answers count no searches."""
    world.answers["gpt-4o-search-preview"] = used(USAGE)
    seen = world.ask("chat", "searching", stream=streamed)
    assert (seen.record.success, seen.record.cost_usd) == (True, None)


@pytest.mark.parametrize(
    "asked",
    [
        {"web_search_options": {}},
        {"search_parameters": {"mode": "on"}},
        {"enable_search": True},
        {"plugins": [{"id": "web"}]},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}]},
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_search_that_is_not_counted_is_unknown(world: World, asked: dict[str, Any], streamed: bool) -> None:
    """Nothing in the answer says how often the provider searched."""
    seen = world.served(used(USAGE), "chat", "rich", stream=streamed, **asked)
    assert (seen.record.success, seen.record.cost_usd) == (True, None)


@pytest.mark.parametrize(
    ("usage", "poor", "rich"),
    [
        (C_USAGE, PLAIN, PLAIN),
        ({**C_USAGE, "server_tool_use": {"web_search_requests": 5}}, None, Decimal("0.052")),
        ({**C_USAGE, "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 2}}, PLAIN, PLAIN),
        ({**C_USAGE, "service_tier": "standard", "inference_geo": "global"}, PLAIN, PLAIN),
        ({**C_USAGE, "service_tier": "priority"}, None, Decimal("0.004")),
        ({**C_USAGE, "inference_geo": "us"}, None, None),
        ({**C_USAGE, "speed": "fast"}, None, None),
        ({**C_USAGE, "speed": "standard"}, PLAIN, PLAIN),
        ({**C_USAGE, "cache_read_input_tokens": 1000}, Decimal("0.0021"), Decimal("0.0021")),
        ({**C_USAGE, "cache_creation_input_tokens": 10,
          "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 0}},
         Decimal("0.0020125"), Decimal("0.0020125")),
        # An hour in the cache costs more than five minutes, and these rows do not say how much.
        ({**C_USAGE, "cache_creation_input_tokens": 10,
          "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 10}}, None, None),
        ({**C_USAGE, "iterations": [{"type": "compaction"}, {"type": "message"}]}, None, None),
        ({**C_USAGE, "iterations": [{"type": "message", "input_tokens": 9}]}, PLAIN, PLAIN),
    ],
)  # fmt: skip
def test_anthropics_usage(world: World, usage: Any, poor: Decimal | None, rich: Decimal | None) -> None:
    """Searches, tiers, fast answers and answers that stay in a country are charged too."""
    assert cost(world, message(usage), "claude") == poor
    assert cost(world, message(usage), "rich-claude") == rich


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"type": "web_search_call", "action": {"type": "search"}}, Decimal("0.012")),
        ({"type": "web_search_call", "action": {"type": "open_page"}}, PLAIN),
        ({"type": "code_interpreter_call"}, None),
        ({"type": "file_search_call"}, None),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_tools_of_a_response_are_charged(world: World, item: Any, expected: Any, streamed: bool) -> None:
    """By the search, where the price says how much."""
    text = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "x"}]}
    usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    response = {
        "id": "r",
        "object": "response",
        "status": "completed",
        "output": [item, text],
        "usage": usage,
    }
    delta = {"type": "response.output_text.delta", "output_index": 1, "delta": "x"}
    sent: Any = [delta, {"type": "response.completed", "response": response}] if streamed else response
    seen = world.served(sent, "responses", "rich-native", stream=streamed)
    assert (seen.record.success, seen.record.cost_usd) == (True, expected)
    tiered = {**response, "output": [text], "service_tier": "flex"}
    sent = [delta, {"type": "response.completed", "response": tiered}] if streamed else tiered
    seen = world.served(sent, "responses", "rich-native", stream=streamed)
    assert (seen.record.cost_usd, seen.record.service_tier) == (Decimal("0.001"), "flex")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({**BYOK, "cost": 0}, "0.0360795"),
        ({**BYOK, "cost": 0.0018}, "0.0378795"),
        ({**BYOK, "cost": 0.0018, "cost_details": {}}, None),
        ({**BYOK, "cost": 0.0018, "cost_details": None}, None),
        ({**BYOK, "cost": 0.5, "is_byok": False}, "0.5"),
        ({"cost": 0.5, "cost_details": {"upstream_inference_cost": 0.4}}, "0.5"),
        ({"cost": 0, "cost_details": {"upstream_inference_cost": 0.4}}, None),
        ({"cost": {"total_cost": 0.25, "request_cost": 0.1}}, "0.25"),
        ({"estimated_cost": 0.25}, "0.25"),
        ({"cost_in_usd_ticks": 2_500_000_000}, "0.25"),
        ({**USAGE}, None),
    ],
)
def test_the_providers_own_cost_is_all_of_it(world: World, usage: Any, expected: str | None) -> None:
    """With a key of one's own, the fee and the price of the provider behind it."""
    wanted = None if expected is None else Decimal(expected)
    assert cost(world, used({**USAGE, **usage}), "reported") == wanted


def test_a_hard_budget_counts_a_key_of_ones_own(tmp_path: Any) -> None:
    """The second call is over the limit, whatever the fee says."""
    budget = {
        "id": "small",
        "scope": "user",
        "subject": "small",
        "usd": 0.05,
        "period": "day",
        "mode": "hard",
    }
    models = {"reported": {"cost_source": "provider"}}
    with replaying(tmp_path, models=models, files={"limits.yaml": {"budgets": [budget]}}) as world:
        world.answers["reported"] = used({**BYOK, "cost": 0})
        asked = [world.ask("chat", "reported", user="small", max_tokens=100).status for _ in range(4)]
        assert asked[-2:] == [429, 429]
        world.answers["one"] = used(USAGE, service_tier="priority")
        refused = world.ask("chat", "one", user="small", max_tokens=100, web_search_options={})
        assert refused.status == 429  # nobody knows what a search may cost


@pytest.mark.parametrize(
    ("model", "answered", "expected"),
    [
        ("one", "one", "0.002"),
        ("one", "one-2026-01-31", "0.002"),
        ("one", "folder/ONE", "0.002"),
        ("one", "m", "0.002"),
        ("one", None, "0.002"),
        ("dated-4", "the-alias", "0.002"),
        ("dated-4", "models/dated-4-0613", "0.002"),
        ("one", "cheap", "0.0002"),
        ("one", "cheap-2026-01-31", "0.0002"),
        ("one", "another-model", None),
        ("dated-4", "dated-5", None),
    ],
)
def test_an_answer_costs_the_model_that_answered(
    world: World, model: str, answered: str | None, expected: str | None
) -> None:
    """Where the catalog knows it, else NULL. The record says so."""
    more = {} if answered is None else {"model": answered}
    wanted = None if expected is None else Decimal(expected)
    assert cost(world, used(USAGE, **more), model) == wanted
    record = world.served(used(USAGE, **more), "chat", model).record
    assert (record.model_selected, record.model_answered) == (model, answered)
    assert ("redirected the request to" in record.reason) == (wanted != PLAIN)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_record_can_be_matched_with_a_bill(world: World, streamed: bool) -> None:
    """By the provider's id, its tier and its region, in the headers or in the body."""

    def answer(request: dict[str, Any]) -> Any:
        names = {"x-request-id": "req_1", "x-ms-region": "Sweden Central"}
        return Reply(used(USAGE, service_tier="default")(request), headers=names)

    record = world.served(answer, "chat", stream=streamed).record
    assert (record.provider_request_id, record.provider_region) == ("req_1", "Sweden Central")
    assert record.service_tier == "default"
    plain = world.served(used(USAGE), "chat", stream=streamed).record
    assert (plain.provider_request_id, plain.provider_region, plain.service_tier) == ("c", None, None)
    claude = world.served(message({**C_USAGE, "inference_geo": "us"}), "messages", "claude", stream=streamed)
    assert (claude.record.provider_request_id, claude.record.provider_region) == ("m", "us")


PARTS = st.lists(st.integers(1, 40), max_size=12)


@settings(max_examples=25)
@given(
    PARTS,
    st.sampled_from(["stop", "length", "tool_calls", "error", "", None]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "flex", "default"]),
)
def test_an_answer_split_anywhere_has_one_verdict_and_one_cost(
    world: World, sizes: list[int], finish: str | None, is_done: bool, is_apart: bool, tier: str | None
) -> None:
    """Any pieces of the bytes, and any order of events that the API allows: streamed equals whole."""
    more = {} if tier is None else {"service_tier": tier}
    text = "Größe \U0001f600"
    first = [chunk({"role": "assistant", "content": ""}, **more)]
    pieces = [chunk({"content": text[place : place + 3]}, **more) for place in range(0, len(text), 3)]
    end = {**chunk({}, finish, **more)}
    usage = [{**chunk({}, **more), "choices": [], "usage": USAGE}] if is_apart else []
    events = [*first, *pieces, end if is_apart else {**end, "usage": USAGE}, *usage]
    raw = b"".join(map(sse, events)) + (DONE if is_done else b"")
    cut, place = [], 0
    for size in sizes:
        cut.append(raw[place : place + size])
        place += size
    cut.append(raw[place:])
    streamed = world.served([part for part in cut if part], "chat", "rich", stream=True)
    expected = world.served(
        {**whole({"content": text}, finish, **more), "usage": USAGE}, "chat", "rich"
    ).record
    if finish in ("", None):  # a whole body shows its end by itself, a stream does not
        assert not streamed.record.success
        return
    assert streamed.record.success == expected.success
    assert streamed.record.cost_usd == expected.cost_usd
    assert streamed.record.finish_reason == expected.finish_reason
