"""Names of symbols in requests and answers: requests are resolved to keys, and answers show present names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.response.base import ASGIResponse
from msgspec import Raw, Struct

from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.query_string import known_pairs
from market_data.errors import NotFound
from market_data.names import Names
from market_data.queries.names import read_names
from market_data.queries.row_pages import Page
from market_data.queries.symbol_rows import SymbolPage
from market_data.services import services_of
from market_data.trade_validation import symbol_path

S = TypeVar("S", bound=Struct)

encode = msgspec.json.Encoder().encode

NOT_LINKED: Final = frozenset({"on", "page_token"})


@dataclass(frozen=True)
class Resolved:
    """The instruments that a request names."""

    keys: tuple[str, ...]
    """In the order of their present names."""
    renamed: Mapping[str, str]
    """Present names by the names in the request, where the two differ."""

    @property
    def key(self) -> str:
        """Key of the only instrument."""
        return self.keys[0]

    @property
    def renamed_to(self) -> str:
        """Present name of the only instrument."""
        return next(iter(self.renamed.values()))


async def loaded_names(connection: ASGIConnection[Any, Any, Any, Any]) -> Names:
    """Return the names. They are read by the first request that comes before the hub has read them.

    Raises:
        DatabaseUnavailable: They can't be read.
    """
    services = services_of(connection)
    if not services.names.is_loaded:
        services.names.replace(await services.database.read_coalesced(read_names))
    return services.names


async def reload_names(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    """Read the names again after a change of them; other workers get a notification."""
    services = services_of(connection)
    services.names.replace(await services.database.read(read_names))


async def resolve(connection: ASGIConnection[Any, Any, Any, Any], given: Iterable[str], on: date | None = None) -> Resolved:
    """Return the instruments that have some names now, or had them last; with `on`, those that had them on that day.

    Raises:
        NotFound: No instrument had a name on that day.
    """
    names = await loaded_names(connection)
    if not names:
        return Resolved(tuple(given), {})
    keys: dict[str, None] = {}
    renamed: dict[str, str] = {}
    for name in given:
        key = names.key_of(name) if on is None else names.key_on(name, on)
        if key is None:
            remedy = f"GET {symbol_path(name)} shows which one has it, and since when"
            raise NotFound(f"No symbol had the name {name} on {on}; {remedy}.")
        keys[key] = None
        if (present := names.name_of(key)) != name:
            renamed[name] = present
    return Resolved(tuple(sorted(keys, key=names.name_of)), renamed)


async def resolve_all(
    connection: ASGIConnection[Any, Any, Any, Any], given: tuple[str, ...] | None, on: date | None = None
) -> Resolved | None:
    """Return the instruments that have some names, as `resolve`; None for all."""
    return None if given is None else await resolve(connection, given, on)


def with_renamed(body: S, resolved: Resolved | None, *, is_list: bool) -> S:
    """Return a body with `renamed_to`, if a name in the request is not the present one."""
    if resolved is None or not resolved.renamed:
        return body
    return msgspec.structs.replace(body, renamed_to=dict(resolved.renamed) if is_list else resolved.renamed_to)


def named_response(
    request: Request[Any, Any, Any],
    body: Struct,
    headers: Mapping[str, str],
    resolved: Resolved | None = None,
    *,
    is_list: bool = False,
    status: int = 200,
) -> ASGIResponse:
    """Return a struct with present names in its members `symbol`, and `renamed_to` if the request has another name."""
    names = services_of(request).names
    encoded = encode(with_renamed(body, resolved, is_list=is_list))
    if names:
        encoded = names.rename_json(encoded.decode()).encode()
    return CompleteResponse(encoded, with_link(request, headers, resolved), status=status)


def with_link(request: Request[Any, Any, Any], headers: Mapping[str, str], resolved: Resolved | None) -> Mapping[str, str]:
    """Return headers with a link to the same request by present names, if the request has others."""
    if resolved is None or not resolved.renamed:
        return headers
    path = request.scope["state"]["root_path"] + request.scope["path"]
    pairs = [
        (name, ",".join(sorted({resolved.renamed.get(each, each) for each in value.upper().split(",")})))
        if name in ("symbol", "symbols")
        else (name, value)
        for name, value in known_pairs(request)
        if name not in NOT_LINKED
    ]
    link = f'<{path}{"?" if pairs else ""}{urlencode(pairs)}>; rel="canonical"'
    return {**headers, "Link": f"{headers['Link']}, {link}" if "Link" in headers else link}


class _Row(Struct):
    symbol: str


_split = msgspec.json.Decoder(list[Raw]).decode
_read_row = msgspec.json.Decoder(_Row).decode


def sorted_by_name(names: Names, rows: Raw) -> list[Raw]:
    """Return the rows of a JSON array, which are sorted by key, in the order of their present names."""
    return sorted(_split(rows), key=lambda row: names.name_of(_read_row(row).symbol))


def named_pages(names: Names, pages: Sequence[SymbolPage], *, is_csv: bool) -> Sequence[SymbolPage]:
    """Return pages of rows with present names."""
    return [_named_page(names, *each, is_csv=is_csv) for each in pages] if names else pages


def _named_page(names: Names, key: str, page: Page, *, is_csv: bool) -> SymbolPage:
    name = names.name_of(key)
    if name == key or isinstance(page.rows, bytes):  # packed rows have no symbol
        return SymbolPage(name, page)
    rows = names.rename_lines(key, page.rows) if is_csv else names.rename_rows(key, page.rows)
    return SymbolPage(name, replace(page, rows=rows))
