"""What can go wrong between the lake and the warehouse, on the same tree as the router's errors."""

from __future__ import annotations

from router.errors import IntelliRouterError


class WarehouseError(IntelliRouterError):
    """The warehouse cannot be built, opened or published."""

    code = "warehouse_error"


class WarehouseBusyError(WarehouseError):
    """Another process is refreshing; nothing was changed."""

    code = "warehouse_busy"
    is_retryable = True


class LegalHoldError(IntelliRouterError):
    """A person is under a legal hold: nothing of theirs may be erased."""

    code = "legal_hold"
    http_status = 409


class ErasureError(IntelliRouterError):
    """The person's id still stands somewhere; the certificate says where."""

    code = "erasure_incomplete"


class QueryError(IntelliRouterError):
    """A person's query or report cannot be run as it stands."""

    code = "bad_query"
    http_status = 400


class EvaluationError(IntelliRouterError):
    """The recorded traffic cannot answer what another policy would have done."""

    code = "not_evaluable"
