"""Responses that are rows: a page as JSON, or any number of pages in another format, streamed while they are read."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from litestar import Request
from litestar.response.base import ASGIResponse
from msgspec import Raw, Struct

from market_data import __version__
from market_data.api.http.caching import NO_STORE, cacheable, entity_tag, has_current
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import encode, require_symbol, require_symbols, root_path
from market_data.api.http.naming import named_pages, with_link, with_renamed
from market_data.api.http.paging import make_page_token, next_link
from market_data.api.http.past import PastMoment, caching_of, version_headers
from market_data.api.http.query_string import known_pairs
from market_data.api.http.response_formats import MEDIA_TYPES, ROW_FORMATS, row_writer
from market_data.api.http.selection import Selection
from market_data.api.http.streaming_response import StreamingResponse
from market_data.queries.candles import CandleRange
from market_data.queries.past import read_as_of
from market_data.queries.row_pages import BEGINNING, Columns, Page, RowFormat, oldest_time
from market_data.queries.symbol_rows import ReadPage, SymbolKey, SymbolPage, SymbolRows, read_symbol_rows
from market_data.queries.trades import TradeRange
from market_data.services import services_of

R = TypeVar("R", TradeRange, CandleRange)

to_bytes = msgspec.msgpack.Encoder().encode

ROW_HEADERS = {"Vary": "Accept", "Accept-Ranges": "bytes"}

PAGE_ROWS = 20_000
"""Rows of a streamed response that one statement reads, so that a slow client does not hold a connection."""


class JsonPage(NamedTuple):
    """A page for a JSON response."""

    symbols: tuple[str, ...] | None
    """None if the client asked for one symbol."""
    start: datetime
    end: datetime
    limit: int
    row_count: int
    rows: Any
    """The whole array as `Raw`, which the encoder copies as it is."""
    token: str | None


@dataclass(frozen=True)
class RowsResponse(Generic[R]):
    """Reads the rows of a selection, and responds with them."""

    request: Request[Any, Any, Any]
    selection: Selection
    rows: R
    """The range of the first symbol."""
    read_page: ReadPage[R]
    columns: Columns
    """Columns of all formats but JSON."""
    is_past: Callable[[datetime], bool]
    """Returns True for the end of a range in which only late, corrected or cancelled trades can change the rows."""
    to_struct: Callable[[JsonPage], Struct]

    async def respond(self) -> ASGIResponse:
        """Return the response; without a limit, all formats but JSON have the whole range.

        The first page is read before the response begins, so that errors have their status.

        Raises:
            NotFound: A symbol is unknown.
        """
        chosen, limit = self.selection, self.selection.limit
        if chosen.moment:
            return await self._respond_as_of(chosen.moment)
        is_past = chosen.is_fixed and self.is_past(self.rows.end)
        if is_past and "if-none-match" in self.request.headers:
            state = await self._read("none", limit or PAGE_ROWS, chosen.after)
            if state.settled and (limit or not state.has_more) and has_current(self.request, tag := self._entity_tag(state)):
                await self._check_symbols(state)
                headers = {"Vary": "Accept", **version_headers(state.version), **await self._validators(state, tag)}
                return ASGIResponse(status_code=304, headers=headers)
        found = await self._read(self._row_format, limit or PAGE_ROWS, chosen.after)
        await self._check_symbols(found)
        if found.has_more and not limit:
            return self._streamed(found, NO_STORE, is_settled=is_past and found.settled)
        is_settled = is_past and found.settled
        return self._complete(found, await self._validators(found, self._entity_tag(found)) if is_settled else NO_STORE)

    async def _respond_as_of(self, moment: PastMoment) -> ASGIResponse:
        """Return the response as of a version: the same request always has the same one, unless its time is relative."""
        chosen, limit = self.selection, self.selection.limit
        caching = caching_of(self.request, moment)
        if caching != NO_STORE:
            depends_on = __version__, *chosen.parameters, chosen.response_format, limit, *self._shown_names
            tag = entity_tag(to_bytes(depends_on))
            caching = {**caching, "ETag": tag}
            if has_current(self.request, tag):
                return ASGIResponse(status_code=304, headers={"Vary": "Accept", **caching})
        found = await self._read(self._row_format, limit or PAGE_ROWS, chosen.after)
        await self._check_symbols(found)
        if found.has_more and not limit:
            return self._streamed(found, caching, is_settled=True)
        return self._complete(found, caching)

    def _streamed(self, found: SymbolRows, caching: Mapping[str, str], *, is_settled: bool) -> ASGIResponse:
        headers = with_link(
            self.request, {**ROW_HEADERS, **version_headers(found.version), **caching}, self.selection.resolved
        )
        pieces = self._stream(found, is_settled=is_settled)
        return StreamingResponse(pieces, media_type=MEDIA_TYPES[self.selection.response_format], headers=headers)

    def _complete(self, found: SymbolRows, caching: Mapping[str, str]) -> ASGIResponse:
        chosen = self.selection
        headers = {**ROW_HEADERS, **version_headers(found.version), **caching}
        token = None
        if found.has_more:
            token = make_page_token(chosen.parameters, chosen.page_start(found.following))
            headers |= next_link(root_path(self.request) + chosen.path, known_pairs(self.request), token)
        body = self._encode(found, token)
        headers = with_link(self.request, headers, chosen.resolved)
        return CompleteResponse(body, headers, media_type=MEDIA_TYPES[chosen.response_format])

    @property
    def _row_format(self) -> RowFormat:
        return ROW_FORMATS[self.selection.response_format]

    def _read(
        self, row_format: RowFormat, limit: int, after: Sequence[SymbolKey], rows: R | None = None
    ) -> Awaitable[SymbolRows]:
        chosen = self.selection
        arguments = self.read_page, rows or self.rows, chosen.symbols, limit, after, row_format
        return read_source(self.request).read(read_symbol_rows, *arguments, in_shares=chosen.in_shares)

    async def _check_symbols(self, found: SymbolRows) -> None:
        if self.selection.is_list:
            stored = {symbol for symbol, page in found.pages if page.stored}
            unproven = [symbol for symbol in self.selection.symbols if symbol not in stored]
            if unproven and not self.selection.after:
                await require_symbols(self.request, unproven)
        elif not found.pages[0].page.stored:
            await require_symbol(self.request, self.selection.symbols[0])

    @property
    def _shown_names(self) -> tuple[object, ...]:
        """Names that the response shows besides those of the request; empty unless symbols were renamed."""
        names, resolved = services_of(self.request).names, self.selection.resolved
        shown = [name for key in resolved.keys if (name := names.name_of(key)) != key]
        return (shown, sorted(resolved.renamed)) if shown or resolved.renamed else ()

    def _named(self, found: SymbolRows) -> Sequence[SymbolPage]:
        is_csv = self.selection.response_format == "csv"
        return named_pages(services_of(self.request).names, found.pages, is_csv=is_csv)

    def _entity_tag(self, found: SymbolRows) -> str:
        chosen = self.selection
        bounds = self.rows.start, self.rows.end
        depends_on = __version__, *chosen.parameters, *bounds, chosen.response_format, chosen.limit, found.state
        depends_on += self._shown_names
        return entity_tag(to_bytes(depends_on))

    async def _validators(self, found: SymbolRows, tag: str) -> dict[str, str]:
        """Return the caching headers of a response that only late, corrected or cancelled trades can change."""
        services = services_of(self.request)
        settings = services.settings
        headers = {"Cache-Control": cacheable(settings.cache_seconds, private=settings.auth == "required"), "ETag": tag}
        if found.newest_write:
            modified = await services.commit_times.get(read_source(self.request), found.newest_write)
            if modified:
                headers["Last-Modified"] = modified
        return headers

    def _encode(self, found: SymbolRows, token: str | None) -> bytes:
        chosen = self.selection
        if chosen.response_format != "json":
            writer = row_writer(chosen.response_format, self.columns)
            return writer.head + b"".join(writer.write(*each) for each in self._named(found)) + writer.finish()
        start = self.rows.start
        if start == BEGINNING:
            times = [oldest_time(page.rows, self.rows.order) for _, page in found.pages if page.count]
            start = min(times, default=self.rows.end)
        pages = [_with_symbol(*each) if chosen.is_list else each.page.rows for each in self._named(found) if each.page.count]
        names = services_of(self.request).names
        symbols = tuple(map(names.name_of, chosen.symbols)) if chosen.is_list else None
        rows = Raw(f"[{','.join(pages)}]")
        body = self.to_struct(JsonPage(symbols, start, self.rows.end, chosen.limit or 0, found.count, rows, token))
        if names and not chosen.is_list:
            body = msgspec.structs.replace(body, symbol=names.name_of(chosen.symbols[0]))
        return encode(with_renamed(body, chosen.resolved, is_list=chosen.is_list))

    async def _stream(self, found: SymbolRows, *, is_settled: bool) -> AsyncGenerator[bytes]:
        """Yield the response page by page; the next page is read while the client receives this one.

        At the end, `is_settled` in the `state` of the request is true if all pages are settled, for byte ranges.
        """
        writer = row_writer(self.selection.response_format, self.columns)
        yield writer.head
        rows = self.rows
        if not rows.as_of and found.version is not None:  # all pages are those of the version in the header
            as_of = await read_source(self.request).read(read_as_of, found.version, datetime.now(UTC))
            rows = replace(rows, as_of=as_of)
        while found.has_more:
            following = asyncio.ensure_future(self._read(self._row_format, PAGE_ROWS, found.following, rows))
            try:
                yield b"".join(writer.write(*each) for each in self._named(found))
                found = await following
                is_settled = is_settled and found.settled
            finally:
                following.cancel()
        self.request.scope["state"]["is_settled"] = is_settled
        yield b"".join(writer.write(*each) for each in self._named(found)) + writer.finish()


def _with_symbol(symbol: str, page: Page) -> str:
    """Return the rows of a page as JSON with their symbol, which those of candles lack."""
    return page.rows.replace('{"timestamp":', f'{{"symbol":"{symbol}","timestamp":')
