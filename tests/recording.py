"""Records that a test can look at."""

from __future__ import annotations

from router.records import Record, RequestLog, RequestRecord


class Recorder:
    """An observer that keeps the records on disk."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.logs: list[RequestLog] = []

    def __call__(self, record: Record, *, is_written: bool) -> None:
        if not is_written:
            return
        if isinstance(record, RequestLog):
            self.logs.append(record)
        else:
            self.records.append(record)


def only_request(records: list[Record]) -> RequestRecord:
    """The one request record among `records`."""
    (record,) = records
    assert isinstance(record, RequestRecord)
    return record
