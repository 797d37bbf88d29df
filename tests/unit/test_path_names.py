"""Slashes in names within paths."""

import asyncio
from typing import Any
from urllib.parse import unquote

import pytest

from market_data.middleware.path_names import PathNames


def routed(raw_path: str) -> str:
    """Return the path that the router gets."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    scope: Any = {"type": "http", "path": unquote(raw_path), "raw_path": raw_path.encode()}
    asyncio.run(PathNames(app)(scope, None, None))  # type: ignore[arg-type]
    return scopes[0]["path"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("/symbols", "/symbols"),
        ("/symbols/AAPL", "/symbols/AAPL"),
        ("/symbols/EUR/USD", "/symbols/EUR%2FUSD"),
        ("/symbols/EUR%2FUSD", "/symbols/EUR%2FUSD"),
        ("/symbols/EUR/USD/", "/symbols/EUR%2FUSD"),
        ("/symbols/AAPL/actions", "/symbols/AAPL/actions"),
        ("/symbols/EUR/USD/actions", "/symbols/EUR%2FUSD/actions"),
        ("/symbols/EUR%2fUSD/rename/", "/symbols/EUR%2FUSD/rename"),
        ("/symbols/EUR%2Factions", "/symbols/EUR%2Factions"),
        ("/symbols/actions", "/symbols/actions"),
        ("/symbols/actions/actions", "/symbols/actions/actions"),
        ("/calendars/24/7/sessions", "/calendars/24%2F7/sessions"),
        ("/calendars/24%2F7/sessions", "/calendars/24%2F7/sessions"),
        ("/calendars/24/7", "/calendars/24%2F7"),
        ("/log/tile/0/x001/234", "/log/tile/0/x001/234"),
        ("/", "/"),
    ],
)
def test_slashes_of_a_name_are_escaped(sent: str, expected: str):
    assert routed(sent) == expected
