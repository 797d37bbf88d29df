"""Request IDs: on each response, in error bodies, log lines, and the database's `application_name`."""

import random
import re
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.middleware.asgi import first_header, with_headers
from market_data.telemetry.logging import REQUEST_ID

HEADER: Final = b"x-request-id"

ACCEPTED: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
"""IDs of clients that are kept; others are replaced."""


class RequestId:
    """Keep the request's `X-Request-ID` or generate one, for `REQUEST_ID` of the request's tasks and the response header."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = first_header(scope, HEADER)
        request_id = given.decode() if given and ACCEPTED.fullmatch(given) else f"{random.getrandbits(64):016x}"
        REQUEST_ID.set(request_id)
        await self.app(scope, receive, with_headers(send, [(HEADER, request_id.encode())]))
