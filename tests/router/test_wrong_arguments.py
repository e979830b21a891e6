"""A wrong argument and a closed router are told in a sentence, not by an AttributeError."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from router import ConfigError, Request, RequestError, Router
from router.errors import ClosedError
from tests.factories import write_catalog

if TYPE_CHECKING:
    from pathlib import Path

HELLO: Any = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.smoke
def test_a_folder_is_no_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"takes Settings, got `str`: name a data folder as `home=…`"):
        Router.open(cast("Any", str(tmp_path)))


@pytest.mark.parametrize("wrong", [HELLO, "hi", None])
def test_only_a_request_is_a_request(tmp_path: Path, wrong: Any) -> None:
    write_catalog(tmp_path)
    with Router.open(home=tmp_path) as router:
        for call in (router.complete_sync, router.route, router.embed_sync):
            with pytest.raises(RequestError, match=f"a `Request` is needed, got `{type(wrong).__name__}`"):
                call(wrong)
        with pytest.raises(RequestError, match="a `Request` is needed"), router.stream_sync(wrong):
            pass


def test_a_closed_router_says_so(tmp_path: Path) -> None:
    """The disk is not to blame."""
    write_catalog(tmp_path)
    router = Router.open(home=tmp_path)
    router.close()
    router.close()
    for call in (router.complete_sync, router.route):
        with pytest.raises(ClosedError, match="this router is closed: open another"):
            call(Request(**HELLO))
    with pytest.raises(ClosedError):
        router.feedback("0199c0de-0000-7000-8000-000000000000")
