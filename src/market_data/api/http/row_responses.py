"""Answers that are rows: a page as JSON, or any number of them as CSV or Arrow, sent while they are read."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from litestar import Request
from litestar.response.base import ASGIResponse
from msgspec import Struct

from market_data.api.http.caching import LIVE, conditional
from market_data.api.http.openapi import encode, require_symbol
from market_data.api.http.paging import next_link, page_token
from market_data.api.http.parameters import Query
from market_data.api.http.readers import Format
from market_data.api.http.response_formats import MEDIA_TYPES, Writer, writer
from market_data.api.http.streaming_response import Stream
from market_data.queries.row_pages import Column, Page, RowFormat, RowKey

PAGE_ROWS = 20_000
"""Rows of an answer of any length that are read at a time: by one statement, which no slow client makes wait."""

Read = Callable[[int, RowKey | None, RowFormat], Awaitable[Page]]
"""Reads so many rows that follow a key, in a form."""


@dataclass(frozen=True)
class Table:
    """Rows that a request asks for."""

    path: str
    symbol: str
    parameters: Sequence[object]
    """What a page token belongs to."""
    after: RowKey | None
    limit: int | None
    """None for all the rows there are."""
    settled: bool
    """Whether nothing but late trades can change them."""
    fields: Sequence[str]
    packed: Mapping[str, Column]
    read: Read
    listed: Callable[[Page, str | None], Struct]
    """The answer in JSON to a page and its token."""


async def answer(request: Request[Any, Any, Any], query: Query, form: Format, table: Table) -> ASGIResponse:
    """The answer to a request for rows. The first of them are read before it begins, so that errors are told as such.

    Raises:
        NotFound: The symbol is unknown.
    """
    read_as: RowFormat = "packed" if form == "arrow" else form
    page = await table.read(table.limit or PAGE_ROWS, table.after, read_as)
    if not page.found:
        await require_symbol(request, table.symbol)
    token = page_token(table.parameters, page.last) if table.limit and page.last else None
    headers = next_link(table.path, query.known(), token)
    media_type = MEDIA_TYPES[form]
    if form == "json":
        return conditional(request, encode(table.listed(page, token)), media_type, headers, settled=table.settled)
    write = writer(form, table.fields, table.packed, table.symbol)
    if table.limit or page.last is None:
        body = write.head + write.write(page) + write.tail
        return conditional(request, body, media_type, headers, settled=table.settled)
    return Stream(_pieces(table, read_as, page, write), media_type=media_type, headers={"Vary": "Accept", **LIVE})


async def _pieces(table: Table, form: RowFormat, page: Page, write: Writer) -> AsyncGenerator[bytes]:
    """The answer, page by page: the next one is read while the client takes this one."""
    yield write.head
    while page.last:
        ahead = asyncio.ensure_future(table.read(PAGE_ROWS, page.last, form))
        try:
            yield write.write(page)
            page = await ahead
        finally:
            ahead.cancel()
    yield write.write(page) + write.tail
