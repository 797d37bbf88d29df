"""HEAD on every path that has GET: the status and the headers of GET, without a body."""

from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final

from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.middleware.asgi import Header

ALLOW: Final = b"allow"


class HeadMethod:
    """Run HEAD as GET up to the headers of the response, and add HEAD to `Allow` wherever it has GET.

    The application ends at the headers: it starts no stream. Handlers with byte ranges find `is_head` in the `state`: their
    readers need the length of the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "GET":
            await self.app(scope, receive, send)
        elif scope["method"] != "HEAD":
            await self.app(scope, receive, _allowing_head(send))
        else:
            await self._send_headers(scope, receive, send)

    async def _send_headers(self, scope: Any, receive: Receive, send: Send) -> None:
        async def send_headers(message: Any) -> None:
            scope["method"] = "HEAD"  # before `send`: the access log and the connection treat HEAD in their own ways
            await _allowing_head(send)(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            raise _HeadersSent

        scope["method"] = "GET"
        scope["state"]["is_head"] = True
        try:
            with suppress(_HeadersSent):
                await self.app(scope, receive, send_headers)
        finally:
            scope["method"] = "HEAD"


class _HeadersSent(BaseException):
    """Ends the application; no `Exception`, so that nothing in it handles this as an error."""


def _allowing_head(send: Send) -> Send:
    def allowing_send(message: Any) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            message["headers"] = [_with_head(header) for header in message["headers"]]
        return send(message)

    return allowing_send


def _with_head(header: Header) -> Header:
    name, value = header
    if name != ALLOW:
        return header
    methods = {method.strip() for method in value.split(b",")}
    return name, b", ".join(sorted(methods | {b"HEAD"} if b"GET" in methods else methods))
