"""Limits of the size of URLs, headers and bodies."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from helpers.api_keys import bearer, store_key
from helpers.security_headers import SECURE
from litestar.testing import TestClient

from market_data.middleware.request_limits import RequestLimits
from market_data.settings import Settings

MakeClient = Callable[[Settings], TestClient]


def test_too_long_url_is_414(service: TestClient):
    assert service.get("/nothing?x=" + "a" * 29_000).status_code == 404  # the path of the test client includes the query
    for url in ("/symbols?x=" + "a" * 65_000, "/" + "a" * 65_000):
        response = service.get(url)
        assert response.status_code == 414
        assert response.json()["detail"] == "The path or the query has more than 65,000 bytes."
        assert response.headers.items() >= SECURE.items()


@pytest.mark.parametrize("headers", [{f"X-{number}": "1" for number in range(100)}, {"X-Large": "a" * 32_768}])
def test_too_many_headers_are_431(service: TestClient, headers: dict[str, str]):
    response = service.get("/symbols", headers=headers)
    assert response.status_code == 431
    assert response.json()["title"] == "Request Header Fields Too Large"
    assert service.get("/symbols", headers={"X-Large": "a" * 30_000}).status_code == 200


@pytest.mark.parametrize(
    ("limit", "scope"),
    [
        (100, lambda size: {"headers": [(b"x", b"1")] * size}),
        (32_768, lambda size: {"headers": [(b"host", b"h"), (b"x-large", b"a" * (size - 12))]}),
        (65_000, lambda size: {"raw_path": b"a" * size}),
        (65_000, lambda size: {"query_string": b"a" * size}),
    ],
)
def test_request_exactly_at_a_limit_passes(limit: int, scope: Callable[[int], dict[str, Any]]):
    passed: list[int] = []

    async def send_both() -> None:
        for size in (limit, limit + 1):

            async def app(*_: Any, size: int = size) -> None:
                passed.append(size)

            request: Any = {
                "type": "http",
                "method": "GET",
                "path": "/",
                "raw_path": b"/",
                "query_string": b"",
                "headers": [],
            }
            await RequestLimits(app)(request | scope(size), ignore, ignore)

    asyncio.run(send_both())
    assert passed == [limit]


async def ignore(*_: Any) -> Any:
    pass


def test_too_large_body_is_413(settings: Settings, make_client: MakeClient, database_url: str):
    headers = {**bearer(store_key(database_url, "write")), "Content-Type": "application/json"}
    with make_client(msgspec.structs.replace(settings, max_body_bytes=1000)) as client:
        response = client.post("/trades", content=b"[" + b" " * 999 + b"]", headers=headers)
        assert response.status_code == 413
        assert response.headers["content-type"] == "application/problem+json"
        assert "1,001 bytes, more than the limit of 1,000" in response.json()["detail"]
