"""Addresses of the service as a client sees them."""

from collections.abc import Mapping
from typing import Any

from litestar.connection import ASGIConnection

from market_data.api.http.handlers import root_path


def base_url(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return the address of the service, with the path prefix of a proxy."""
    return f"{connection.base_url.scheme}://{connection.base_url.netloc}{root_path(connection)}"


def base_urls(connection: ASGIConnection[Any, Any, Any, Any]) -> dict[str, str]:
    """Return the addresses to set in clients of other services, by protocol."""
    base = base_url(connection)
    paths: Mapping[str, str] = connection.app.state.base_urls
    return {
        name: base.replace("http", "ws", 1) + path.removeprefix("ws:") if path.startswith("ws:") else base + path
        for name, path in paths.items()
    }
