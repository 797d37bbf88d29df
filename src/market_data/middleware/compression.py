"""Compression of responses, with the content coding that the client prefers.

No response mixes secrets with text of an attacker, so that their compressed size would reveal the secrets (BREACH): keys are
never part of a response, and without cookies a browser adds no credentials to the requests of other sites.
"""

import asyncio
import gzip
import re
import sys
import zlib
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.middleware.asgi import Header

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIN_BYTES: Final = 1_000
"""Size up to which a body stays as it is."""

MAX_INLINE_BYTES: Final = 32_768
"""Size up to which a body is compressed in the event loop: it takes 0.05 ms (zstd) to 0.14 ms (gzip), against 0.03 ms of the
event loop and 0.05 ms of waiting for a thread."""

# 10,000 candles of 1.6 MB become 0.24 MB in 2.5 ms with zstd, and 0.28 MB in 14 ms with gzip. Gzip takes twice as long at
# level 6 for 0.25 MB; zstd at level 3 takes 3.6 ms for 0.26 MB.
ZSTD_LEVEL: Final = 1
GZIP_LEVEL: Final = 4

# The 0.3 MB of the dashboard become 82 kB with zstd, and 97 kB at level 1. The 1.7 MB of Swagger UI take 0.1 s, and 0.7 s at
# level 19.
STATIC_ZSTD_LEVEL: Final = 12
STATIC_GZIP_LEVEL: Final = 9

MAX_CACHED: Final = 128
"""Files and pages of which the compressed bodies are kept: twice the number of files, for two codings."""

COMPRESSIBLE: Final = re.compile(
    rb"text/(?!event-stream)\S+|application/(json|x-ndjson|vnd\.apache\.arrow\.stream|\S+\+json)|image/svg\+xml"
)
STATIC: Final = re.compile(rb"text/(html|css|javascript)|application/vnd\.oai\.openapi\+json|image/svg\+xml")
"""Media types of the pages and their files, which are the same in each response, and compressed once as much as possible."""

ENTRY: Final = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:;\s*[qQ]\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*)?")
"""Entry of `Accept-Encoding`. Malformed entries are ignored."""

WEAK_TAG: Final = re.compile(rb'W/"[^"]*"')

MAX_CACHED_HEADER: Final = 200
"""Characters of an `Accept-Encoding` whose choice is kept: clients can send any text."""

Encode = Callable[[bytes, bool], bytes]
"""Compresses the next piece of a body, of which the second argument is true for the last. The output decodes at once."""


def _gzip() -> Encode:
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return lambda piece, last: compressor.compress(piece) + compressor.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


def _zstd() -> Encode:
    compressor = zstd.ZstdCompressor(ZSTD_LEVEL)
    return lambda piece, last: compressor.compress(piece, compressor.FLUSH_FRAME if last else compressor.FLUSH_BLOCK)


CODINGS: Final[Mapping[str, Callable[[], Encode]]] = {"zstd": _zstd, "gzip": _gzip}
"""Supported codings, the preferred one first. Brotli would be as small as zstd, and slower."""


class Choice(NamedTuple):
    """Coding for a client."""

    coding: str | None
    """None for no compression."""
    required: bool = False
    """True if the client accepts nothing else, so that small bodies are compressed too."""


def choose_coding(header: bytes) -> Choice:
    """Return the coding with the highest weight in an `Accept-Encoding`, of several the one that the service prefers.

    For `*` it is gzip, which every client knows. If the client accepts nothing that the service has, the response stays as
    it is (RFC 9110, 12.5.3).
    """
    weights: dict[str, float] = {}
    for entry in header.decode("latin-1").split(","):
        if match := ENTRY.fullmatch(entry):
            coding = match[1].lower()
            weights["gzip" if coding == "x-gzip" else coding] = float(match[2] or 1)
    others = weights.get("*", 0)
    weight, _, best = max(
        ((weights.get(coding, others), coding in weights or coding == "gzip", coding) for coding in CODINGS),
        key=lambda candidate: candidate[:2],
    )
    if weight == 0 or weight < weights.get("identity", 0):
        return Choice(None)
    return Choice(best, weights.get("identity", weights.get("*")) == 0)


_choose_cached = lru_cache(1024)(choose_coding)


class Compression:
    """Compress the bodies of responses that are larger than `MIN_BYTES`, pieces of unknown length one by one.

    Byte ranges, event streams, `Cache-Control: no-transform` and bodies with a `Content-Encoding` stay as they are. The ETag
    of a compressed response is weak, because it is also that of the uncompressed one. A 304 has the ETag that the client
    knows.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        next_send = send

        def compressing_send(message: Any) -> Awaitable[None]:
            nonlocal next_send
            if message["type"] == "http.response.start":
                choice = _choice_of(scope)
                if not _stays(message["headers"], choice) and message["status"] != HTTPStatus.PARTIAL_CONTENT:
                    response = _CompressedResponse(scope, send, choice)
                    next_send = response.send
                    return response.begin(message)
            return next_send(message)

        await self.app(scope, receive, compressing_send)


def _stays(headers: list[Header], choice: Choice) -> bool:
    """Return True for most responses, which are small: neither their body nor their `Vary` changes."""
    length = None
    for name, value in headers:
        if name == b"etag":
            return False
        if name == b"content-length":
            length = value
    return length is not None and int(length) <= MIN_BYTES and not choice.required


class _CompressedResponse:
    """Compresses a response if its headers allow it, on its way to the client."""

    def __init__(self, scope: Scope, send: Send, choice: Choice) -> None:
        self._scope = scope
        self._send = send
        self._choice = choice
        self._coding = ""
        """Coding of the body; empty if it stays as it is."""
        self._encode: Encode | None = None
        self._is_static = False
        self._start: Any = None
        """Headers that wait for the length of the body."""

    def begin(self, message: Any) -> Awaitable[None]:
        """Decide from the headers."""
        fields = dict(message["headers"])
        length = fields.get(b"content-length")
        may_compress = _may_compress(fields)
        if may_compress or b"etag" in fields:  # a 304, which has no media type and no length, has the same `Vary`
            message["headers"] = _varying(message["headers"])
        if message["status"] == 304 and fields.get(b"etag", b"") not in _strong_tags(self._scope):
            message["headers"] = [_with_weak_tag(header) for header in message["headers"]]
        is_small = length is not None and int(length) <= MIN_BYTES and not self._choice.required
        if self._choice.coding is None or is_small or not may_compress:
            return self._send(message)
        self._coding = self._choice.coding
        self._is_static = STATIC.match(fields[b"content-type"]) is not None
        self._start = message
        return self._send_start() if length is None else _nothing()

    def send(self, message: Any) -> Awaitable[None]:
        """Send a message after the headers."""
        return self._send_body(message) if self._coding else self._send(message)

    async def _send_start(self, length: int | None = None) -> None:
        headers = [_with_weak_tag(header) for header in self._start["headers"] if header[0] != b"content-length"]
        headers.append((b"content-encoding", self._coding.encode()))
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        message, self._start = self._start, None
        message["headers"] = headers
        await self._send(message)

    async def _send_body(self, message: Any) -> None:
        piece, more = message.get("body", b""), message.get("more_body", False)
        if self._start and not more:
            compress = _compress_cached if self._is_static else _compress
            body = await _run(compress, piece, self._coding)
            await self._send_start(len(body))
        else:
            if self._start:
                await self._send_start()
            self._encode = self._encode or CODINGS[self._coding]()
            body = await _run(self._encode, piece, not more) if piece or not more else b""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


async def _run(compress: Callable[[bytes, Any], bytes], piece: bytes, argument: Any) -> bytes:
    """Compress in a thread if it takes long. After a cancellation the thread ends by itself, and its result is dropped."""
    if len(piece) <= MAX_INLINE_BYTES:
        return compress(piece, argument)
    return await asyncio.to_thread(compress, piece, argument)


def _compress(body: bytes, coding: str) -> bytes:
    return CODINGS[coding]()(body, True)


@lru_cache(MAX_CACHED)
def _compress_cached(body: bytes, coding: str) -> bytes:
    if coding == "zstd":
        return zstd.compress(body, STATIC_ZSTD_LEVEL)
    return gzip.compress(body, STATIC_GZIP_LEVEL, mtime=0)


async def _nothing() -> None:
    pass


def _choice_of(scope: Scope) -> Choice:
    header = b""
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            header = header + b"," + value if header else value
    return _choose_cached(header) if len(header) <= MAX_CACHED_HEADER else choose_coding(header)


def _may_compress(fields: Mapping[bytes, bytes]) -> bool:
    return (
        COMPRESSIBLE.match(fields.get(b"content-type", b"")) is not None
        and b"content-encoding" not in fields
        and b"no-transform" not in fields.get(b"cache-control", b"").lower()
    )


def _strong_tags(scope: Scope) -> bytes:
    """Return the `If-None-Match` without its weak tags."""
    return WEAK_TAG.sub(b"", b",".join(value for name, value in scope["headers"] if name == b"if-none-match"))


def _varying(headers: list[Header]) -> list[Header]:
    """Return the headers with `Accept-Encoding` in their `Vary`."""
    named = [value for name, value in headers if name == b"vary"]
    known = {field.strip().lower() for value in named for field in value.split(b",")}
    if known & {b"*", b"accept-encoding"}:
        return headers
    return [*(header for header in headers if header[0] != b"vary"), (b"vary", b", ".join([*named, b"Accept-Encoding"]))]


def _with_weak_tag(header: Header) -> Header:
    name, value = header
    return (name, b"W/" + value) if name == b"etag" and not value.startswith(b"W/") else header
