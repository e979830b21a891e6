"""Two names of one model are told from the names of two models."""

from __future__ import annotations

import pytest

from router.catalog.names import is_placeholder, is_same_model


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4", "gpt-4-0613"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
        ("gemini-2.5-flash", "models/gemini-2.5-flash"),
        ("gemini-1.5-pro", "gemini-1.5-pro-002"),
        ("openai/gpt-4o", "gpt-4o-2024-08-06"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "anthropic.claude-sonnet-4-20250514-v1:0"),
        ("llama3", "llama3:latest"),
        ("meta-llama/Llama-3.3-70B-Instruct:free", "meta-llama/llama-3.3-70b-instruct"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
    ],
)
def test_the_same_model(asked: str, answered: str) -> None:
    """With a date, a version, a folder or a region more or less."""
    assert is_same_model(asked, answered)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06"),
        ("claude-opus-4-1", "claude-sonnet-4-5"),
        ("o1", "o1-preview"),
        ("llama3:8b", "llama3:70b"),
        ("gemini-2.5-pro", "gemini-2.5-flash"),
    ],
)
def test_another_model(asked: str, answered: str) -> None:
    """Another size, another version of two dated ones, another maker's word."""
    assert not is_same_model(asked, answered)


@pytest.mark.parametrize("name", [None, "", "m", "model", "unknown", "default"])
def test_a_placeholder_names_no_model(name: str | None) -> None:
    """Servers without a name write something all the same."""
    assert is_placeholder(name)
