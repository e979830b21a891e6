"""`Upstream`: the stream of one provider, from its first content on."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from router.errors import ProviderError
from router.providers.http.sse import DONE
from router.serving.assembly import Assembly

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from router.catalog.catalog import Model
    from router.providers.base import Provider
    from router.providers.http.sse import StreamEvent
    from router.request.request import Body

DRAIN_S = 0.2
"""How long a provider may take to end its reply after DONE. After that its connection is not reused."""


class Upstream:
    """The stream of one attempt, and its answer so far."""

    status_code = 200

    def __init__(self, provider: Provider, model: Model, body: Body) -> None:
        """Use `open`."""
        self.assembly = Assembly()
        self.started = time.perf_counter()
        self._model = model
        self._batches = provider.stream(model, body)
        self.ignored = self._batches.ignored
        self._held: list[StreamEvent] = []
        """Events up to the first content: until then another candidate may serve the request."""
        self._is_done = False
        self._is_cut = False
        """Whether DONE came before the answer was over."""

    @classmethod
    async def open(
        cls,
        provider: Provider,
        model: Model,
        body: Body,
        *,
        on_comment: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> Upstream:
        """Call, and wait for the first content; ProviderError if none comes.

        `on_comment` gets the comments that come before the answer begins: Anthropic's `ping` comes later.
        """
        upstream = cls(provider, model, body)
        try:
            while not (upstream.assembly.has_content or upstream.assembly.is_finished):
                batch = await upstream._take()
                if batch is None:
                    raise upstream._broken("sent a stream without content")
                has_begun = bool(upstream._held) or any(event.data or event is DONE for event in batch)
                if on_comment is None or has_begun:
                    upstream._held += batch
                else:
                    await on_comment(b"".join(event.raw for event in batch))
        except BaseException:
            await upstream._batches.aclose()
            raise
        return upstream

    async def read(self) -> list[StreamEvent] | None:
        """The next events; None when the answer is whole, ProviderError when it was cut."""
        if self._held:
            held, self._held = self._held, []
            return held
        return await self._take()

    async def aclose(self) -> None:
        """End the call. After DONE the reply is read to its end, so that its connection can be reused."""
        try:
            if self._is_done:
                with suppress(TimeoutError, ProviderError):
                    async with asyncio.timeout(DRAIN_S):
                        await anext(self._batches, None)
        finally:
            await self._batches.aclose()

    async def _take(self) -> list[StreamEvent] | None:
        if self._is_done:
            return None
        if self._is_cut:
            raise self._broken("ended its stream before the answer was over")
        batch = await anext(self._batches, None)
        if batch is None:
            # Some servers leave DONE out. If every choice has its finish reason, nothing is missing.
            if not self.assembly.is_finished:
                raise self._broken("ended its stream before the answer was over")
            return None
        for event in batch:
            if event is DONE:
                # Servers write DONE even behind an answer that broke off: only its finish reasons count.
                self._is_done = self.assembly.is_finished
                self._is_cut = not self._is_done
            elif event.data is not None:
                self.assembly.add(event.data)
            elif event.trace is not None:
                self.assembly.trace = event.trace
                return []
        return [event for event in batch if event is not DONE] if self._is_cut else batch

    def _broken(self, what: str) -> ProviderError:
        return ProviderError(
            f"provider `{self._model.provider}` {what} for model `{self._model.id}`",
            provider=self._model.provider,
            model=self._model.id,
            error_type="bad_response",
            is_retryable=True,
        )
