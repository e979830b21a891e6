"""Azure OpenAI, which takes the same bodies as OpenAI at other addresses.

The model's name at the provider (`provider_model`) is the name of the deployment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from router.providers.apis import ApisProvider

if TYPE_CHECKING:
    from typing import Any

    from router.catalog.catalog import Model


class AzureProvider(ApisProvider):
    """A Provider for a resource of Azure OpenAI, `https://NAME.openai.azure.com`."""

    def __init__(self, name: str, *, api_version: str, **arguments: Any) -> None:
        """`arguments` go to OpenAIProvider."""
        super().__init__(name, **arguments)
        self._api_version = api_version

    def _address(self, model: Model) -> str:
        return self._deployed(model, "chat/completions")

    def _responses_address(self) -> str:
        version = quote(self._api_version, safe="")
        return f"{self._base_url}/openai/responses?api-version={version}"  # the body names the deployment

    def _embeddings_address(self, model: Model) -> str:
        return self._deployed(model, "embeddings")

    def _deployed(self, model: Model, path: str) -> str:
        deployment = quote(model.provider_model, safe="")
        version = quote(self._api_version, safe="")
        return f"{self._base_url}/openai/deployments/{deployment}/{path}?api-version={version}"

    def _key_headers(self, key: str) -> dict[str, str]:
        return {"api-key": key}
