"""The errors between the lake and the warehouse, on the same tree as the router's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.errors import IntelliRouterError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable


class WarehouseError(IntelliRouterError):
    """The warehouse cannot be built, opened or published."""

    code = "warehouse_error"


class WarehouseBusyError(WarehouseError):
    """Another process is refreshing. Nothing was changed."""

    code = "warehouse_busy"
    is_retryable = True


class StoreError(IntelliRouterError):
    """The object store of the lake (LAKE_URL) cannot be reached, or refuses. Nothing is lost."""

    code = "store_error"
    is_retryable = True


class EngineError(IntelliRouterError):
    """The engine of ENGINE cannot be reached, or refuses a statement. Nothing was changed."""

    code = "engine_error"
    is_retryable = True


class RetentionError(IntelliRouterError):
    """Retention would remove more than its moment can justify. Nothing was removed."""

    code = "retention_refused"
    http_status = 409


class LegalHoldError(IntelliRouterError):
    """A person is under a legal hold: nothing of theirs may be erased."""

    code = "legal_hold"
    http_status = 409


class ErasureError(IntelliRouterError):
    """Some files still hold the person's id. The certificate names them."""

    code = "erasure_incomplete"


class QueryError(IntelliRouterError):
    """A query or report cannot run as it was given."""

    code = "bad_query"
    http_status = 400


class PriceSourceError(IntelliRouterError):
    """The list prices cannot be fetched or read. The price book does not change."""

    code = "price_source_error"
    is_retryable = True


class UnknownPriceChangeError(IntelliRouterError):
    """No pending price has this id. Nothing was accepted."""

    code = "unknown_price_change"
    http_status = 404

    def __init__(self, change_id: str, waiting: Iterable[str]) -> None:
        super().__init__(
            f"no pending price `{change_id}`: {nearest(change_id, waiting)};"
            " run `intellirouter prices pending`"
        )
        self.change_id = change_id


class ImportSourceError(IntelliRouterError):
    """A log or configuration of another gateway cannot be imported. Nothing was written."""

    code = "import_error"
    http_status = 400


class EvaluationError(IntelliRouterError):
    """The recorded traffic does not allow an estimate for this policy."""

    code = "not_evaluable"


class ReconciliationError(IntelliRouterError):
    """A bill cannot be read, compared or kept as it was given. Nothing was stored."""

    code = "not_reconcilable"
    http_status = 400


class CopyError(IntelliRouterError):
    """A copy for another engine could not be brought up to date. Serving and publishing go on."""

    code = "copy_error"
    is_retryable = True

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        """PostgreSQL's code of the failure, if it gave one."""


class CopyBusyError(CopyError):
    """Another process writes the copy."""

    code = "copy_busy"


class RefusedRowsError(CopyError):
    """The other engine refuses rows for their content. Only their part is left out."""

    code = "copy_refused_rows"
    is_retryable = False


class BillError(IntelliRouterError):
    """A month cannot be billed or closed as it was asked for. Nothing was written."""

    code = "bill_refused"
    http_status = 409


class FrozenBillError(WarehouseError):
    """A closed bill was changed, or cannot be read."""

    code = "closed_bill_damaged"
