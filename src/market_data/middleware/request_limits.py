"""Limits of the URL and the headers of a request. The limit of the body is MAX_BODY_BYTES."""

from http import HTTPStatus
from itertools import chain
from typing import Final, cast

from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.middleware.asgi import Header, reject

MAX_URL_BYTES: Final = 65_000
"""Maximum of the path and of the query, each. httptools can't parse 65,536 bytes of both: `HttpProtocol` answers 400."""
MAX_HEADERS: Final = 100
MAX_HEADER_BYTES: Final = 32_768
"""Maximum of all names and values together."""


class RequestLimits:
    """Reject requests with too many or too large headers (431), or too long a URL (414)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = cast("list[Header]", scope["headers"])
        if len(headers) > MAX_HEADERS or sum(map(len, chain.from_iterable(headers))) > MAX_HEADER_BYTES:
            detail = f"There are more than {MAX_HEADERS} headers, or more than {MAX_HEADER_BYTES:,} bytes of them."
            error = HTTPException(detail, status_code=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif len(scope["raw_path"]) > MAX_URL_BYTES or len(scope["query_string"]) > MAX_URL_BYTES:
            detail = f"The path or the query has more than {MAX_URL_BYTES:,} bytes."
            error = HTTPException(detail, status_code=HTTPStatus.REQUEST_URI_TOO_LONG)
        else:
            await self.app(scope, receive, send)
            return
        await reject(scope, receive, send, error)
