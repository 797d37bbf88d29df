"""Bars and trades as the text of their JSON objects: with every stored digit, and in a third of the time of structs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from litestar.response.base import ASGIResponse

from market_data.api.compat.massive.values import request_id
from market_data.api.compat.parameters import bad_parameter
from market_data.api.compat.rows import ExactBar, ExactTrade
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.paging import PageStart, make_page_token, read_page_token
from market_data.api.http.past import version_headers
from market_data.errors import BadParameters
from market_data.queries.row_pages import Page
from market_data.queries.symbol_rows import SymbolKey, SymbolRows

CHUNK: Final = 10_000
"""Rows that one statement reads; as many are formatted at a time, so that other requests are served in between."""


class Texts(NamedTuple):
    """A page of rows, each as the text of a JSON object."""

    rows: Sequence[str]
    following: Sequence[SymbolKey]
    """Keys after which the next page begins; empty after the last page."""
    version: int | None
    """Version whose rows these are; None if no version has all of them."""


async def read_texts(
    read: Callable[[int, Sequence[SymbolKey]], Awaitable[SymbolRows]],
    texts_of: Callable[[Page], Sequence[str]],
    limit: int,
    after: Sequence[SymbolKey],
) -> Texts:
    """Return at most `limit` rows of one symbol, read in chunks; `read` gets the limit of a chunk and its keys."""
    texts: list[str] = []
    versions: set[int | None] = set()
    while True:
        found = await read(min(limit - len(texts), CHUNK), after)
        for each in found.pages:
            texts += texts_of(each.page)
        versions.add(found.version)
        after = found.following
        if not after or len(texts) >= limit:
            return Texts(texts, after, versions.pop() if len(versions) == 1 else None)


def bar_text(bar: ExactBar, ticker: str = "") -> str:
    """Return a bar, with the ticker if it is given. Without a volume there is no average price."""
    vwap = "" if bar.vwap is None else f'"vw":{bar.vwap!r},'
    symbol = f'"T":"{ticker}",' if ticker else ""
    return (
        f'{{{symbol}"v":{bar.volume},{vwap}"o":{bar.open},"c":{bar.close},"h":{bar.high},"l":{bar.low},'
        f'"t":{bar.time // 1000},"n":{bar.trade_count}}}'
    )


def trade_text(trade: ExactTrade) -> str:
    """Return a trade. The times have the nanoseconds of a microsecond, which also is the sequence number."""
    return (
        f'{{"conditions":[],"exchange":0,"id":"{trade.trade_id}","participant_timestamp":{trade.time}000,'
        f'"price":{trade.price},"sequence_number":{trade.time},"sip_timestamp":{trade.time}000,"size":{trade.volume}}}'
    )


def list_response(
    members: Mapping[str, Any], rows: Sequence[str], headers: Mapping[str, str], version: int | None = None
) -> ASGIResponse:
    """Return a body with `status`, `request_id`, some further members and the results."""
    given = {"status": "OK", "request_id": request_id(), "count": len(rows), **members}
    body = f'{msgspec.json.encode(given).decode()[:-1]},"results":[{",".join(rows)}]}}'
    return CompleteResponse(body.encode(), {**NO_STORE, **headers, **version_headers(version)})


def make_cursor(parameters: Sequence[object], following: SymbolKey) -> str:
    """Return the cursor of the next page."""
    key = following.key
    return make_page_token(parameters, PageStart([(0, key and key[0], key[1] if key else 0)]))


def read_cursor(cursor: str | None, parameters: Sequence[object], symbol: str) -> Sequence[SymbolKey]:
    """Return the keys after which a page begins; none without a cursor.

    Raises:
        BadParameters: It belongs to another request, or was changed.
    """
    if cursor is None:
        return ()
    try:
        page = read_page_token(cursor, parameters)
    except BadParameters:
        raise bad_parameter("cursor", "does not belong to this request; follow next_url unchanged") from None
    return [SymbolKey(symbol, time and (time, number)) for _, time, number in page.keys]
