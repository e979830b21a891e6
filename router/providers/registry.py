"""`Providers`: each provider of a catalog, by its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.providers.anthropic import AnthropicProvider
from router.providers.apis import ApisProvider
from router.providers.azure import AzureProvider
from router.providers.gemini import GeminiProvider
from router.providers.http.authorities import tls_of
from router.providers.key_ring import ProviderKeyRing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog.catalog import Catalog
    from router.catalog.entries import ProviderEntry
    from router.config import Settings
    from router.providers.base import Provider


class Providers:
    """The providers of a catalog, which it builds when a catalog first names them."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._tls = tls_of(settings.ssl_cert_file, settings.ssl_cert_dir)
        self._built: dict[tuple[str, ProviderEntry], Provider] = {}
        self._catalog: Catalog | None = None
        self._providers: Mapping[str, Provider] = {}

    def of(self, catalog: Catalog) -> Mapping[str, Provider]:
        """Providers by name. If an entry did not change, its provider keeps its connections."""
        if catalog is not self._catalog:
            self._providers = {name: self._provider(name, entry) for name, entry in catalog.providers.items()}
            self._catalog = catalog
        return self._providers

    async def aclose(self) -> None:
        """Close the connections of the running event loop, including those of replaced providers."""
        for provider in self._built.values():
            await provider.aclose()

    def _provider(self, name: str, entry: ProviderEntry) -> Provider:
        provider = self._built.get((name, entry))
        if provider is None:
            provider = self._built[name, entry] = self._build(name, entry)
        return provider

    def _build(self, name: str, entry: ProviderEntry) -> Provider:
        arguments: dict[str, Any] = {
            "base_url": entry.base_url,
            "keys": ProviderKeyRing.read(entry.key_variables, self._environment),
            "max_connections": self._settings.max_connections,
            "max_response_bytes": self._settings.max_response_bytes,
            "tls": self._tls,
        }
        if entry.kind == "anthropic":
            return AnthropicProvider(name, **arguments)
        if entry.kind == "gemini":
            return GeminiProvider(name, **arguments)
        if entry.kind == "bedrock":
            from router.providers.bedrock import BedrockProvider  # its extra may be missing

            return BedrockProvider(name, region=entry.region, **arguments)
        if entry.kind == "azure":
            return AzureProvider(name, api_version=entry.api_version or "", **arguments)
        return ApisProvider(name, **arguments)
