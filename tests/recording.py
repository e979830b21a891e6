"""Records that a test can look at."""

from __future__ import annotations

from typing import Any

from router.records import Record, RequestLog, RequestRecord


class Recorder:
    """A RecordSink that keeps what it is given, in front of the real one."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.records: list[Record] = []
        self.logs: list[RequestLog] = []

    def append(self, *records: Record) -> None:
        self.inner.append(*records)
        self._keep(records)

    async def append_async(self, *records: Record) -> None:
        await self.inner.append_async(*records)
        self._keep(records)

    def _keep(self, records: tuple[Record, ...]) -> None:
        for record in records:
            if isinstance(record, RequestLog):
                self.logs.append(record)
            else:
                self.records.append(record)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def only_request(records: list[Record]) -> RequestRecord:
    """The one request record among `records`."""
    (record,) = records
    assert isinstance(record, RequestRecord)
    return record
