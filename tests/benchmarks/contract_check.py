"""Check that the contenders of `compare.py` serve the same contract."""

import http.client
import json
import os.path
from collections.abc import Mapping
from typing import Any

from cases import CASES

DAY = "start=2026-02-08T00:00:00Z&end=2026-02-09T00:00:00Z"
NO_DAY = "start=2020-01-01T00:00:00Z&end=2020-01-02T00:00:00Z"
QUESTIONS = [
    *(path for case in CASES for path in case.paths),
    "/price/latest?symbol=aapl",
    f"/trades?symbol=msft&{DAY}",
    f"/trades?symbol=MSFT&limit=7&{DAY}",
    f"/trades?symbol=MSFT&{NO_DAY}",
    f"/candles?symbol=MSFT&interval=1m&limit=7&{DAY}",
    f"/candles?symbol=MSFT&interval=1m&{NO_DAY}",
    "/candles?symbol=MSFT&interval=1m&start=2026-02-08T01:00:30%2B01:00&end=2026-02-08T01:09:30%2B01:00",
    "/price/latest?symbol=NONE",
    f"/trades?symbol=NONE&{DAY}",
    f"/candles?symbol=NONE&interval=1m&{DAY}",
    "/price/latest",
    "/nothing",
    f"/candles?symbol=MSFT&interval=7m&{DAY}",
    f"/trades?symbol=MSFT&limit=1001&{DAY}",
    "/trades?symbol=MSFT&start=2026-02-09T00:00:00Z&end=2026-02-08T00:00:00Z",
]

Page = tuple[int, str | None, Any]
"""Status, media type and content of a response; without the content of errors, whose wording may differ."""


def differences(ports: Mapping[str, int]) -> list[str]:
    """Return the differences between the responses of the first port and of the others."""
    found: list[str] = []
    (model, first), *others = ports.items()
    for path in QUESTIONS:
        expected = _pages(first, path)
        for name, port in others:
            if (given := _pages(port, path)) != expected:
                parts = _first_difference(repr(given), repr(expected))
                found.append(f"{name} answers {path} with {parts[0]}, {model} with {parts[1]}")
    return found


def _pages(port: int, path: str) -> list[Page]:
    """Return the response and the next page, if any, with opaque tokens replaced."""
    page, token = _answer(port, path)
    return [page] if token is None else [page, _answer(port, f"{path}&page_token={token}")[0]]


def _answer(port: int, path: str) -> tuple[Page, str | None]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        client.request("GET", path)
        response = client.getresponse()
        body = response.read()
    finally:
        client.close()
    media_type = response.headers.get("Content-Type")
    if response.status != 200:
        return (response.status, media_type, None), None
    contents = json.loads(body, parse_int=float)
    token = contents.get("next_page_token")
    if token is not None:
        contents["next_page_token"] = "…"
    return (response.status, media_type, contents), token


def _first_difference(*texts: str) -> list[str]:
    """Return the parts of two texts around their first difference."""
    begin = max(len(os.path.commonprefix(texts)) - 60, 0)  # noqa: RUF071 - the common prefix of texts, not of paths
    return [f"…{text[begin : begin + 200]}…" for text in texts]
