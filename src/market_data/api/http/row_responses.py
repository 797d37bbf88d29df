"""Responses that are rows: a page as JSON, or any number of pages as CSV or Arrow, streamed while they are read."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from litestar import Request
from litestar.response.base import ASGIResponse
from msgspec import Struct

from market_data.api.http.caching import NO_STORE, conditional_response
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import encode, require_symbol, root_path
from market_data.api.http.paging import invalid_page_token, make_page_token, next_link, read_page_token
from market_data.api.http.parameters import ResponseFormat, known_pairs
from market_data.api.http.response_formats import MEDIA_TYPES, Writer, accepted_format, row_writer
from market_data.api.http.streaming_response import StreamingResponse
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.queries.candles import CandleRange
from market_data.queries.row_pages import Columns, Connection, Page, RowFormat, RowKey
from market_data.queries.trades import TradeRange

R = TypeVar("R", bound=TradeRange | CandleRange)

PAGE_ROWS = 20_000
"""Rows of a streamed response that one statement reads, so that a slow client does not hold a connection."""


@dataclass(frozen=True)
class RowsResponse(Generic[R]):
    """A response with the rows of a range."""

    request: Request[Any, Any, Any]
    path: str
    rows: R
    read_page: Callable[[Connection, R, int, RowKey | None, RowFormat], Awaitable[Page]]
    columns: Columns
    """Columns of CSV and Arrow."""
    default_limit: int
    """Limit of JSON."""
    is_settled: bool
    """True if only late, corrected or cancelled trades can change the rows."""
    to_struct: Callable[[Page, int, str | None], Struct]
    """Returns the JSON response with a page, its limit and the token of the next page."""

    async def respond(self, limit: int | None, page_token: str | None, given_format: ResponseFormat | None) -> ASGIResponse:
        """Return the response; without a limit, CSV and Arrow have the whole range.

        The first page is read before the response begins, so that errors have their status.

        Raises:
            BadParameters: The range, or the page token, is invalid.
            NotFound: The symbol is unknown.
        """
        if self.rows.start >= self.rows.end:
            detail = "must be before end; the range includes start and excludes end"
            raise BadParameters([ParameterProblem("start", detail)])
        response_format = given_format or accepted_format(self.request)
        if response_format == "json":
            limit = limit or self.default_limit
        row_format: RowFormat = "packed" if response_format == "arrow" else response_format
        page = await self._read(limit or PAGE_ROWS, self._after(page_token), row_format)
        if not page.stored:
            await require_symbol(self.request, self.rows.symbol)
        token = make_page_token(self._token_parameters, page.last) if limit and page.last else None
        headers = next_link(root_path(self.request) + self.path, known_pairs(self.request), token) if token else {}
        media_type = MEDIA_TYPES[response_format]
        settled = self.is_settled and page.settled
        if response_format == "json":
            body = encode(self.to_struct(page, limit or 0, token))
            return conditional_response(self.request, body, media_type, headers, settled=settled)
        writer = row_writer(response_format, self.columns, self.rows.symbol)
        if limit or page.last is None:
            body = writer.head + writer.write(page) + writer.tail
            return conditional_response(self.request, body, media_type, headers, settled=settled)
        pieces = self._stream(row_format, page, writer)
        return StreamingResponse(pieces, media_type=media_type, headers={"Vary": "Accept", **NO_STORE})

    @property
    def _token_parameters(self) -> tuple[object, ...]:
        return self.path, *vars(self.rows).values()  # `astuple` would copy each value, which takes 40 µs

    def _after(self, token: str | None) -> RowKey | None:
        if token is None:
            return None
        key = read_page_token(token, self._token_parameters)
        if not self.rows.start <= key[0] < self.rows.end:
            raise invalid_page_token("leads out of the range; send next_page_token of the page before, unchanged")
        return key

    def _read(self, limit: int, after: RowKey | None, row_format: RowFormat) -> Awaitable[Page]:
        return read_source(self.request).read(self.read_page, self.rows, limit, after, row_format)

    async def _stream(self, row_format: RowFormat, page: Page, writer: Writer) -> AsyncGenerator[bytes]:
        """Yield the response page by page; the next page is read while the client receives this one."""
        yield writer.head
        while page.last:
            next_page = asyncio.ensure_future(self._read(PAGE_ROWS, page.last, row_format))
            try:
                yield writer.write(page)
                page = await next_page
            finally:
                next_page.cancel()
        yield writer.write(page) + writer.tail
