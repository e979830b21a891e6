"""OpenAI's embeddings: HTTP to `EmbeddingRequest`, and the provider's unchanged vectors to HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from router.errors import RequestError
from router.request.embeddings import EmbeddingRequest
from router.request.request import AUTO
from router.server.api.labels import labels_of, response_headers
from router.server.auth import admitted
from router.server.http import HttpResponse

if TYPE_CHECKING:
    from router.server.http import HttpRequest
    from router.server.shim import Shim

PATH = "/v1/embeddings"


async def embeddings(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`POST /v1/embeddings`."""
    response = await shim.router.embed(_request_of(shim, http))
    return HttpResponse(response.raw, headers=response_headers(response))


def _request_of(shim: Shim, http: HttpRequest) -> EmbeddingRequest:
    body, catalog = http.body, shim.router.catalog
    if "input" not in body:
        raise RequestError("`input` is missing: send a text, or a list of texts", param="input")
    model = body.get("model", AUTO)
    is_space = isinstance(model, str) and model in catalog.vectors
    request = EmbeddingRequest(
        input=body["input"],
        model=model if is_space or not isinstance(model, str) else catalog.named(model),
        parameters={
            name: value for name, value in body.items() if name not in ("model", "input", "provider")
        },
        **labels_of(body, http.headers, ip_address=http.ip_address),
    )
    if not is_space:
        return admitted(request, http.caller)
    # A key's list names models, not vectors. It still decides which models with these vectors are allowed.
    return replace(admitted(replace(request, model=AUTO), http.caller), model=model)
