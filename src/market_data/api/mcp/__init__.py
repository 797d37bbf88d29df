"""The API as tools for language models, over the Model Context Protocol at `/mcp`: with MCP_ENABLED.

The library `mcp` takes 40 MB of memory and a second to import, so only `server` imports it, and only `load_endpoint` imports
`server`.
"""

import importlib.util
from typing import TYPE_CHECKING

from market_data.errors import SettingsError
from market_data.settings import Settings

if TYPE_CHECKING:
    from market_data.api.mcp.server import McpEndpoint


def check_library(settings: Settings) -> None:
    """Raise SettingsError if MCP_ENABLED is set and the library is not installed."""
    if settings.mcp_enabled and importlib.util.find_spec("mcp") is None:
        remedy = "install it (pip install 'market-data-platform[mcp]'), or leave MCP_ENABLED out"
        raise SettingsError(f"MCP_ENABLED is true, but the library `mcp` is not installed; {remedy}.")


def load_endpoint(settings: Settings) -> "McpEndpoint | None":
    """Return the endpoint; None without MCP_ENABLED.

    Raises:
        SettingsError: The library is not installed.
    """
    if not settings.mcp_enabled:
        return None
    check_library(settings)
    from market_data.api.mcp.server import McpEndpoint  # noqa: PLC0415

    return McpEndpoint(settings)
