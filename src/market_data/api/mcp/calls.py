"""Calls of tools: requests to handlers of this application, without the network and the middlewares around it.

A call has the key, the path prefix and the `Host` of the request that it came with. So handlers check the scope and the
parameters, and choose the text of errors, as for any client.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlencode

import msgspec
from litestar import Litestar, Request
from litestar.types import Message, Scope

from market_data.api.http import problems
from market_data.api.http.base_urls import base_url
from market_data.api.http.past import DATA_VERSION
from market_data.api.mcp.tools import MAX_ROWS, Limit, Tool, in_terms_of_tools
from market_data.trade_validation import shown

PASSED_STATE: Final = ("key", "root_path")
PASSED_HEADERS: Final = frozenset({b"host", b"x-read-after"})


class CallFailed(Exception):
    """The tool has no answer; the message says what to do."""


@dataclass(frozen=True)
class Answer:
    """Body of a handler, and the address at which a client of the HTTP API gets the whole of it."""

    body: bytes
    url: str
    version: int | None
    """`Data-Version`."""


@dataclass
class _Received:
    """Response of a handler."""

    status: int = 500
    headers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    body: bytearray = field(default_factory=bytearray)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        elif message["type"] == "http.response.body":
            self.body += message["body"]


async def call(tool: Tool, arguments: Mapping[str, Any], outer: Request[Any, Any, Any]) -> Answer:
    """Run the handler of a tool for the client of a request.

    Raises:
        CallFailed: An argument is wrong, or there is no such data.
    """
    texts = _texts(tool, arguments)
    url = base_url(outer) + tool.path
    shared = _query({name: text for name, text in texts.items() if name not in ("limit", "page_token")})
    if "limit" in tool.arguments:
        texts.setdefault("limit", str(MAX_ROWS))
    received = await _run(outer.app, _scope(outer.scope, tool.path, _query(texts)))
    if received.status != 200:
        raise CallFailed(_remedy(received))
    version = received.headers.get(DATA_VERSION.lower().encode())
    return Answer(bytes(received.body), f"{url}?{shared}" if shared else url, int(version) if version else None)


def _texts(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the arguments as parameters of a query. Models also send null for an argument that they leave out."""
    texts = {name: _text(name, value) for name, value in arguments.items() if value is not None}
    if "format" in texts:
        raise CallFailed(f"format is not an argument of {tool.name}; leave it out.")
    try:
        if "limit" in texts and "limit" in tool.arguments:
            Limit.read(texts["limit"])
    except ValueError as error:
        raise CallFailed(f"limit: {error}.") from None
    return texts


def _text(name: str, value: object) -> str:
    match value:
        case str():
            return value
        case int() if not isinstance(value, bool) and abs(value) < 2**63:  # conversion of long numbers fails
            return str(value)
        case list() if name == "symbols":
            return ",".join(_text(name, each) for each in cast("list[object]", value))
        case _:
            raise CallFailed(f"{shown(name)[1:-1]} must be a text or a whole number.")


def _query(texts: Mapping[str, str]) -> str:
    return urlencode(texts, errors="replace")  # JSON may have lone surrogates


def _scope(outer: Any, path: str, query: str) -> Any:
    """Return the scope of a GET in place of that of a request."""
    return {
        **{name: value for name, value in outer.items() if name not in ("path_params", "route_handler", "path_template")},
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [header for header in outer["headers"] if header[0] in PASSED_HEADERS],
        "state": {name: outer["state"][name] for name in PASSED_STATE},
    }


async def _run(app: Litestar, scope: Scope) -> _Received:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    received = _Received()
    try:
        await app.asgi_router(scope, receive, received.send)
    except Exception as error:
        problem = problems.handle_exception(Request(scope), error)
        received.status, received.body = problem.status_code or 500, bytearray(problem.content)
    return received


class _Problem(msgspec.Struct):
    detail: str


def _remedy(received: _Received) -> str:
    return in_terms_of_tools(msgspec.json.decode(received.body, type=_Problem).detail).removesuffix(".") + "."
