"""Bodies of requests, read and decompressed as they arrive, so that a body that is too large is rejected early."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeVar

from litestar import Request
from litestar.exceptions import InternalServerException
from msgspec import Struct

from market_data.api.http.decoding import InvalidFields, Readers, decode_fields
from market_data.errors import BadParameters, TooLarge, UnsupportedCoding, UnsupportedMedia
from market_data.models import ParameterProblem
from market_data.services import services_of
from market_data.trade_validation import shown

S = TypeVar("S", bound=Struct)

JSON: Final = ("application/json",)
NDJSON: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")

GZIP: Final = frozenset({"gzip", "x-gzip"})

MAX_OBJECT_BYTES = 20_000
"""Bytes of a body that is one object."""

PIECE_BYTES: Final = 262_144
"""Bytes that are decompressed, in half a millisecond, before other requests get their turn."""


async def read_object(request: Request[Any, Any, Any], kind: type[S], readers: Readers | None = None) -> S:
    """Return a small JSON body as a struct. `readers` are those of fields that differ from `decoding.FIELDS`.

    Raises:
        BadParameters: The body is not JSON, or fields are unknown, missing or invalid.
        TooLarge: The body has too many bytes.
        UnsupportedMedia: The body has another media type.
    """
    media_type_of(request, JSON)
    try:
        return decode_fields(kind, await read_body(request, min(MAX_OBJECT_BYTES, max_bytes(request))), readers)
    except InvalidFields as invalid:
        raise BadParameters([ParameterProblem(each.part or "body", each.detail) for each in invalid.problems]) from None


def media_type_of(request: Request[Any, Any, Any], known: Sequence[str]) -> str:
    """Return the media type of the body.

    Raises:
        UnsupportedMedia: It is not one of the known ones.
        UnsupportedCoding: The body is compressed, and not with gzip.
    """
    header = request.headers.get("content-type", "")
    media_type = header.partition(";")[0].strip().lower()
    if media_type not in known:
        given = f"not {shown(header)}" if header else "and is missing"
        raise UnsupportedMedia(f"Content-Type must be {' or '.join(known)}, {given}.")
    _content_coding(request)
    return media_type


def max_bytes(request: Request[Any, Any, Any]) -> int:
    """Return MAX_BODY_BYTES."""
    return services_of(request).settings.max_body_bytes


async def read_body(request: Request[Any, Any, Any], limit: int) -> bytes:
    """Return the whole body, of at most `limit` bytes."""
    async with aclosing(_read_pieces(request, limit)) as pieces:
        return b"".join([piece async for piece in pieces])


async def read_lines(request: Request[Any, Any, Any]) -> AsyncGenerator[bytes]:
    """Yield blocks of whole lines as they arrive."""
    rest = bytearray()
    async with aclosing(_read_pieces(request, max_bytes(request))) as pieces:
        async for piece in pieces:
            lines, newline, last = piece.rpartition(b"\n")
            if newline:
                yield bytes(rest) + lines
                rest = bytearray(last)
            else:
                rest += piece
    yield bytes(rest)


async def _read_pieces(request: Request[Any, Any, Any], limit: int) -> AsyncGenerator[bytes]:
    """Yield the body, decompressed, of at most `limit` bytes. A compressed body has no more either."""
    announced = request.headers.get("content-length", "")
    total = int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 19 else 0
    if total > limit:
        raise TooLarge(f"The body has {total:,} bytes, more than the limit of {limit:,}; send it in parts.")
    total = 0
    async with aclosing(_decompressed(request)) as pieces:
        async for piece in pieces:
            total += len(piece)
            if total > limit:
                raise TooLarge(f"The body has more than {limit:,} bytes; send it in parts.")
            yield piece


async def _decompressed(request: Request[Any, Any, Any]) -> AsyncGenerator[bytes]:
    gunzip = _Gunzip() if _content_coding(request) in GZIP else None
    try:
        async for piece in request.stream():
            if gunzip is None:
                yield piece
                continue
            for part in gunzip.decompress(piece):
                yield part
                await asyncio.sleep(0)
    except InternalServerException:  # Litestar raises it if the client disconnects
        raise BadParameters([ParameterProblem("body", "ended before it was complete")]) from None
    except zlib.error:
        raise BadParameters([ParameterProblem("body", "is not valid gzip, as Content-Encoding says")]) from None
    if gunzip and not gunzip.is_complete:
        raise BadParameters([ParameterProblem("body", "is not valid gzip: it ends too early")])


def _content_coding(request: Request[Any, Any, Any]) -> str:
    """Return the coding of the body.

    Raises:
        UnsupportedCoding: It is neither gzip nor identity.
    """
    coding = ",".join(request.headers.getall("content-encoding", [])).strip().lower() or "identity"
    if coding not in GZIP and coding != "identity":
        raise UnsupportedCoding(
            f"Content-Encoding: {shown(coding)} is not supported; send the body uncompressed, or compressed with gzip."
        )
    return coding


class _Gunzip:
    """Decompresses a body piece by piece."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self.is_complete = False
        """True at the end of a member; another one may follow."""

    def decompress(self, piece: bytes) -> Iterator[bytes]:
        """Yield parts of at most `PIECE_BYTES`.

        Raises:
            zlib.error: The piece is not part of a gzip file.
        """
        while piece:
            if self._member.eof:
                self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
            yield self._member.decompress(piece, PIECE_BYTES)
            self.is_complete = self._member.eof
            piece = self._member.unused_data or self._member.unconsumed_tail
