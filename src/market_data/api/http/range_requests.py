"""Byte ranges of responses whose rows may change at any time.

Readers such as polars, fsspec and DuckDB ask for the length of a body by HEAD, then for ranges of it, without `If-Range`. If
the ranges came from different bodies, the client would read wrong rows. So HEAD, or the first range of a client that sends
no HEAD, runs the handler and keeps the body (`body_store`), and later ranges are parts of it. A range that may belong to
another body gets 412, not a whole 200: fsspec would take a short one, or the beginning of a long one, for the range.

Bodies belong to a client: its address, its key and its `User-Agent`. Reads of one URL by the same client share a body if one
begins soon after the other, or while that goes on (`Record.may_share`). Only `If-Range` can tell such reads apart.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import IO, Any, NamedTuple

from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.api.http.byte_ranges import ByteRange, parse_range
from market_data.api.http.problems import send_problem
from market_data.body_store import Body, BodyStore, Draft, Entry, Record, key_of, pieces_of
from market_data.errors import ContentChanged, DatabaseUnavailable
from market_data.services import Services

logger = logging.getLogger(__name__)

CHANGED = (
    "The content may have changed since this read began, so the range is not available. Read it again from its first byte, "
    "or without a range."
)

KEY_HEADERS = ("accept", "user-agent", "x-read-after")
"""Headers of a request that belong to the key of its body."""

Header = tuple[bytes, bytes]


class Found(NamedTuple):
    """A body to send, or a part of it."""

    file: IO[bytes]
    size: int
    headers: list[Header]
    part: range | None
    """None for the whole body."""


class RangeRequests:
    """Answer requests for ranges, and HEAD with the length of the body. A middleware of handlers; other requests pass.

    Bodies that are too large to be kept have no ranges: GET sends them as a whole, HEAD has no length.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the handler, or answer from a stored body."""
        is_head = scope["state"].get("is_head", False)
        given = b""
        for name, value in scope["headers"]:
            if name == b"range":
                given = b"several" if given else value
        asked = None if is_head or not given else parse_range(given.decode("latin-1"))
        if asked or is_head:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            if "if-none-match" not in headers:
                services: Services = scope["litestar_app"].state.services
                request = _RangeRequest(self.app, scope, receive, send, services.bodies, asked, headers.get("if-range"))
                try:
                    if await request.respond(_key(scope, headers)):
                        return
                except (ContentChanged, DatabaseUnavailable, HTTPException) as error:
                    # Not left to Litestar, to which the handler's response seems to have begun.
                    await send_problem(scope, send, error)
                    return
        await self.app(scope, receive, send)


def _key(scope: Any, headers: Mapping[str, str]) -> str:
    key, client = scope["state"].get("key"), scope["client"]
    identity = client and client[0], key and key.id
    place = scope["state"]["root_path"], scope["raw_path"], scope["query_string"]
    return key_of(*identity, *place, *(headers.get(name) for name in KEY_HEADERS))


class _TooLarge(BaseException):
    """Ends the handler; no `Exception`, so that nothing in it handles this as an error."""


class _RangeRequest:
    """A request for a range, or HEAD."""

    def __init__(
        self,
        app: ASGIApp,
        scope: Any,
        receive: Receive,
        send: Send,
        store: BodyStore,
        asked: ByteRange | None,
        if_range: str | None,
    ) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send: Callable[[Any], Awaitable[None]] = send
        self._store = store
        self._asked = asked
        """None for HEAD."""
        self._if_range = None if asked is None else if_range

    async def respond(self, key: str) -> bool:
        """Send a response. Return False if the service can't keep bodies, so that nothing was sent.

        Raises:
            ContentChanged: The range may belong to another body.
            HTTPException: The body ends before the range (416).
        """
        try:
            async with AsyncExitStack() as held:  # released before a client takes its time to receive the body
                entry = await held.enter_async_context(self._store.locked(key))
                found = await self._find(entry, held)
        except OSError as error:
            logger.warning("no byte ranges: the folder for bodies can't be used: %s", error)
            if self._asked and self._asked.first:
                raise ContentChanged(CHANGED) from None
            return False
        if found:
            with found.file:
                await self._send_found(found)
        return True

    async def _find(self, entry: Entry, held: AsyncExitStack) -> Found | None:
        """Return the body of the response; None if the handler's response was passed on."""
        record = entry.record
        begins = not self._if_range and (not self._asked or (self._asked.may_begin_read and not record.has_head))
        now = self._store.clock()
        file = entry.open_body()
        if file and not (record.may_share(now) if begins else self._if_range in (None, record.tag)):
            file.close()
            file = None
        if file is None:
            draft = self._store.new_draft()
            try:
                body = await self._receive_body(draft, entry, held, may_pass=begins or bool(self._if_range))
                if body is None:
                    return None
                if self._if_range:
                    part = self._part(body.size) if self._if_range == body.tag else None
                    return Found(draft.detach(), body.size, body.headers, part)
                if not (begins or body.tag == record.tag or (body.settled and not record.tag)):
                    raise ContentChanged(CHANGED)
                now = self._store.clock()
                record.replace(body, now)
                file = entry.keep(draft)
            finally:
                draft.close()
        try:
            if self._asked and not begins and not self._if_range:
                _check_unambiguous(record, self._asked, now)
            part = self._part(record.size)
            if part:
                record.add_sent(part, now)
            elif not self._asked:
                record.begin_read(now)
            entry.save()
        except BaseException:
            file.close()
            raise
        return Found(file, record.size, record.headers, part)

    async def _receive_body(self, draft: Draft, entry: Entry, held: AsyncExitStack, *, may_pass: bool) -> Body | None:
        """Run the handler, and return its body; None if its response was passed on: an error, or a body that is too large.

        Raises:
            ContentChanged: It is too large, and `may_pass` is false.
            DatabaseUnavailable: It is incomplete.
        """
        start: Any = None
        passes = is_complete = False

        async def capture(message: Any) -> None:
            nonlocal start, passes, is_complete
            if passes:
                await self._send(message)
            elif start is None:
                start = message
                if message["status"] != HTTPStatus.OK:
                    passes = True
                    await held.aclose()
                    await self._send(message)
            elif await asyncio.to_thread(draft.add, message.get("body", b"")):
                is_complete = not message.get("more_body")
            elif not may_pass:
                raise _TooLarge
            else:
                passes = True
                entry.forget()
                await held.aclose()
                start["headers"] = [*_without(start["headers"], b"accept-ranges"), (b"accept-ranges", b"none")]
                await self._send(start)
                await self._send_pieces(draft.file, range(draft.size), ends=False)
                await self._send(message)

        await held.enter_async_context(self._store.drafts)
        try:
            await self._app(self._scope, self._receive, capture)
        except _TooLarge:
            raise ContentChanged(CHANGED) from None
        if passes:
            return None
        if not is_complete:  # a streamed response has failed, and the log has the reason
            raise DatabaseUnavailable("The rows could not be read completely; try again in a moment.")
        tag = dict(start["headers"]).get(b"etag", b"").decode()
        headers = _without(start["headers"], b"content-length", b"etag", b"accept-ranges")
        headers += [(b"etag", (tag or draft.tag).encode()), (b"accept-ranges", b"bytes")]
        return Body(tag or draft.tag, draft.size, bool(tag or self._scope["state"].get("is_settled")), headers)

    def _part(self, size: int) -> range | None:
        """Return the positions of the range. An empty body is sent as a whole."""
        part = self._asked and self._asked.resolve(size)
        if self._asked and size and part is None:
            raise HTTPException(
                f"The body has {size:,} bytes; the range begins behind its end.",
                status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                headers={"Content-Range": f"bytes */{size}"},
            )
        return part

    async def _send_found(self, found: Found) -> None:
        part = range(found.size) if found.part is None else found.part
        headers = [*found.headers, (b"content-length", str(len(part)).encode())]
        status = HTTPStatus.OK
        if found.part is not None:
            status = HTTPStatus.PARTIAL_CONTENT
            headers.append((b"content-range", f"bytes {part.start}-{part.stop - 1}/{found.size}".encode()))
        await self._send({"type": "http.response.start", "status": status.value, "headers": headers})
        await self._send_pieces(found.file, part)

    async def _send_pieces(self, file: IO[bytes], part: range, *, ends: bool = True) -> None:
        left = len(part)
        for piece in pieces_of(file, part):
            left -= len(piece)
            await self._send({"type": "http.response.body", "body": piece, "more_body": left > 0 or not ends})
        if not part and ends:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _check_unambiguous(record: Record, asked: ByteRange, now: float) -> None:
    """Check that a range belongs to the body of a record.

    Raises:
        ContentChanged: It may belong to the body before, or is the rest of a download that had another body.
    """
    first = asked.first or 0
    is_foreign = asked.is_resumption and first < record.size and not record.settled and not record.has_sent_up_to(first)
    if is_foreign or now < record.ambiguous_until:
        raise ContentChanged(CHANGED)


def _without(headers: list[Header], *names: bytes) -> list[Header]:
    return [(name, value) for name, value in headers if name not in names]
