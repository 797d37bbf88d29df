"""A request on its way to the application, its answer on the way back, and the time that it has until that begins."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, copy_context
from http import HTTPStatus
from typing import Any, Final, cast

from litestar.exceptions import HTTPException
from litestar.types import HTTPResponseStartEvent, HTTPScope, Message, Receive, Send, WebSocketScope

from market_data.api.http import problems
from market_data.errors import TookTooLong

logger = logging.getLogger(__name__)

Header = tuple[bytes, bytes]

CONTENT_POLICY: Final = b"content-security-policy"
NO_PAGE: Final = (CONTENT_POLICY, b"default-src 'none'; frame-ancestors 'none'")
"""What browsers are told of answers that say nothing about it themselves."""


def first_headers(scope: HTTPScope | WebSocketScope) -> Mapping[bytes, bytes]:
    """The headers of a request by their names; of those with one name, the first."""
    return dict(reversed(cast("list[Header]", scope["headers"])))


class Passage:
    """One request. Its answer gets the headers in `headers` and in `more`, as they are by then."""

    __slots__ = (
        "_awaits_body",
        "_has_body",
        "_receive",
        "_send",
        "began",
        "begun",
        "context",
        "deadlines",
        "ended",
        "given",
        "headers",
        "id",
        "late",
        "more",
        "scope",
        "status",
        "task",
    )

    context: Context
    """That of the request: the timer has that of whichever request set it."""

    def __init__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.began = time.monotonic()
        self.given = first_headers(scope)
        self._receive = receive
        self._send = send
        self._has_body = self._awaits_body = False
        self.headers: Sequence[Header] = ()
        self.more: list[Header] = []
        self.status = 0
        """Of its answer, once that has begun."""
        self.begun: Callable[[Passage], None] | None = None
        """Is called when it begins."""
        self.ended: Callable[[Passage], None] | None = None
        """Is called when nothing more is done for it."""
        self.id = ""
        self.deadlines: Deadlines | None = None
        self.task = asyncio.current_task()
        self.late: asyncio.Task[None] | None = None
        """Tells the client that its time is over, once it is."""

    async def receive(self) -> Any:
        """Take what the client sends."""
        self._awaits_body = not self._has_body
        message = await self._receive()
        self._awaits_body = False
        if message["type"] == "http.request" and not message.get("more_body"):
            self._has_body = True
        return message

    async def send(self, message: Message) -> None:
        """Give the client a piece of its answer, unless it has another answer by now."""
        if self.late:
            return
        if message["type"] == "http.response.start":
            if self.deadlines:
                self.deadlines.lift(self)
            self._begin(message)
        await self._send(message)

    def _begin(self, message: HTTPResponseStartEvent) -> None:
        self.status = message["status"]
        headers = [*message["headers"], *self.headers, *self.more]
        for name, _ in message["headers"]:
            if name == CONTENT_POLICY:
                break
        else:
            headers.append(NO_PAGE)
        message["headers"] = headers
        if self.begun:
            self.begun(self)

    async def _tell(self, message: Message) -> None:
        """Give the client a piece of what it is told when its time is over."""
        if message["type"] == "http.response.start":
            self._begin(message)
        await self._send(message)

    def give_up(self, seconds: float) -> None:
        """Tell the client that its time is over, and end what would have answered it.

        That may take a while to end, and may answer something that is not the reason: nobody waits for it.
        """
        error = TookTooLong(f"There was no answer within {seconds:g} s; try again in a moment.")
        if self._awaits_body:
            detail = f"The body of the request did not arrive within {seconds:g} s."
            error = HTTPException(detail, status_code=HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"})
        else:
            logger.warning("a request is answered 503: no answer within %g s", seconds)
        self.late = asyncio.create_task(problems.refuse(self.scope, self._tell, error))
        if self.task:
            self.task.cancel()

    async def told(self, late: "asyncio.Task[None]") -> None:
        """Wait until the client has been told; another cancellation than that of `give_up` goes on."""
        if self.task and self.task.uncancel() > 0:
            raise asyncio.CancelledError
        await late


class Deadlines:
    """Those of all requests that are not answered yet. They last equally long, so that one timer does for all."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[Passage, None] = {}  # in the order in which they come, and in which their time ends
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many they are."""
        return len(self._waiting)

    def set(self, passage: Passage) -> None:
        """Give a request its time."""
        passage.deadlines = self
        passage.context = copy_context()
        self._waiting[passage] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)

    def lift(self, passage: Passage) -> None:
        """Let a request take as long as it likes, for its answer has begun."""
        self._waiting.pop(passage, None)

    def _look(self) -> None:
        self._timer = None
        for passage in list(self._waiting):
            left = passage.began + self._seconds - time.monotonic()
            if left > 0:
                self._timer = asyncio.get_running_loop().call_later(left, self._look)
                return
            self.lift(passage)
            passage.context.run(passage.give_up, self._seconds)
