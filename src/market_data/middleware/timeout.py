"""Time-out and end of requests: the time until a response begins, and the response when the service stops before.

Streams that have begun have no time-out.
"""

import asyncio
import logging
from contextvars import copy_context
from http import HTTPStatus
from typing import Any

from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from market_data.api.http import problems
from market_data.errors import Stopping, TookTooLong

logger = logging.getLogger(__name__)


STOPPING = "The service is stopping; try again in a moment."
STOPPING_WRITE = "The service is stopping, so the data may or may not have been stored; repeat the same request."


class RequestTimeout:
    """Answer 503 (408 if the body is incomplete) after some seconds without a response, or when the service stops.

    WebSockets have no time-out.

    A request without a response is cancelled by its connection when the service stops (`HttpProtocol`), and is answered 503
    here: everything below raises the cancellation unchanged.

    All requests have the same time-out, so one timer is enough: it is set for the oldest request.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app = app
        self.seconds = seconds
        self._pending: dict[_PendingRequest, None] = {}  # an ordered set, the oldest first
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        request = _PendingRequest(self, scope, receive, send, loop.time() + self.seconds)
        self._pending[request] = None
        if self._timer is None:
            self._timer = loop.call_at(request.deadline, self._expire)
        try:
            await self.app(scope, request.receive, request.send)
        except asyncio.CancelledError:
            if not request.response:
                if request not in self._pending:  # its response has begun
                    raise
                detail = STOPPING if scope["method"] in ("GET", "HEAD", "OPTIONS") else STOPPING_WRITE
                await problems.send_problem(scope, send, Stopping(detail))
        finally:
            self._pending.pop(request, None)
        if request.response:
            await request.finish(request.response)

    def remove(self, request: "_PendingRequest") -> None:
        """End the time-out of a request whose response begins."""
        self._pending.pop(request, None)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        for request in list(self._pending):
            if request.deadline > loop.time():
                self._timer = loop.call_at(request.deadline, self._expire)
                return
            self.remove(request)
            request.context.run(request.expire)  # the timer runs in the context of another request


class _PendingRequest:
    """Request whose response has not begun."""

    def __init__(self, timeout: RequestTimeout, scope: HTTPScope, receive: Receive, send: Send, deadline: float) -> None:
        self._timeout = timeout
        self.scope = scope
        self._receive = receive
        self._send = send
        self.deadline = deadline
        self._reading = self._body_complete = False
        self.context = copy_context()
        self.task = asyncio.current_task()
        self.response: asyncio.Task[None] | None = None
        """Task that sends the 503 or 408."""

    async def receive(self) -> Any:
        self._reading = not self._body_complete
        message = await self._receive()
        self._reading = False
        if message["type"] == "http.request" and not message.get("more_body"):
            self._body_complete = True
        return message

    async def send(self, message: Message) -> None:
        if self.response:
            return  # the client already has a response
        if message["type"] == "http.response.start":
            self._timeout.remove(self)
        await self._send(message)

    def expire(self) -> None:
        """Answer the client and cancel the request's task.

        The client does not wait for the task, which may take a while to end, or send another response.
        """
        seconds = self._timeout.seconds
        if self._reading:
            detail = f"The body of the request did not arrive within {seconds:g} s."
            error = HTTPException(detail, status_code=HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"})
        else:
            logger.warning("request timed out: no response within %g s, answered 503", seconds)
            error = TookTooLong(f"There was no answer within {seconds:g} s; try again in a moment.")
        self.response = asyncio.create_task(problems.send_problem(self.scope, self._send, error))
        if self.task:
            self.task.cancel()

    async def finish(self, response: "asyncio.Task[None]") -> None:
        """Wait until the 503 or 408 is sent. Pass on a cancellation other than that of `expire`."""
        if self.task and self.task.uncancel() > 0:
            raise asyncio.CancelledError
        await response
