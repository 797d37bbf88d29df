"""`GET /revisions`."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec.structs import replace

from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.consistency import read_from_primary, read_source
from market_data.api.http.handlers import encode, require_symbols, root_path
from market_data.api.http.naming import Resolved, resolve, with_link, with_renamed
from market_data.api.http.openapi import openapi_operation, responses
from market_data.api.http.paging import PageStart, make_page_token, next_link, read_page_token
from market_data.api.http.parameters import (
    DEFAULT_TRADES_LIMIT,
    FormatParameter,
    OneSymbolParameter,
    PageTokenParameter,
    RevisedEndParameter,
    RevisedStartParameter,
    RevisionsLimitParameter,
    SeveralSymbolsParameter,
    SinceVersionParameter,
    StoredIntervalParameter,
)
from market_data.api.http.past import version_headers
from market_data.api.http.query_string import known_pairs
from market_data.api.http.response_formats import MEDIA_TYPES, accepted_format
from market_data.api.http.revision_formats import write_revisions
from market_data.api.http.selection import check_range, chosen_symbols
from market_data.errors import BadParameters, FutureVersion
from market_data.models import ParameterProblem
from market_data.models_revisions import RevisionList
from market_data.queries.revisions import MAX_COUNT, RevisionKey, RevisionPage, RevisionRange, read_revision_page
from market_data.services import services_of

PATH: Final = "/revisions"


@get(
    PATH,
    summary="Revisions of candles",
    description=(
        "Changes of closed candles: each candle that changed after its bucket had ended, before and after, because trades "
        "came late, or were corrected or cancelled. Sorted by symbol, then by version and time. Bulk history (`cause` "
        "`reload`) has one entry with `start` and `end`: read the candles of that range again. All pages are complete up "
        "to the `version` of the answer. A client that has read candles once, and then follows `since_version`, has the "
        "same candles as the service."
    ),
    tags=["Candles"],
    operation_class=openapi_operation(has_pages=True, has_version=True),
    responses=responses(RevisionList, 400, 404, 410),
)
async def revisions(
    request: Request[Any, Any, Any],
    interval: StoredIntervalParameter,
    symbol: OneSymbolParameter = None,
    symbols: SeveralSymbolsParameter = None,
    since_version: SinceVersionParameter = None,
    start: RevisedStartParameter = None,
    end: RevisedEndParameter = None,
    limit: RevisionsLimitParameter = None,
    page_token: PageTokenParameter = None,
    given_format: FormatParameter = None,
) -> ASGIResponse:
    resolved = await resolve(request, chosen_symbols(symbol, symbols))
    chosen = resolved.keys
    if since_version is None and start is None:
        raise BadParameters([ParameterProblem("since_version", "is required without start, for example since_version=0")])
    if start and end:
        check_range(start.time, end.time)
    parameters = PATH, chosen, interval, since_version, start and start.notation, end and end.notation
    first, last = start and start.time, end and end.time
    until, after = MAX_COUNT, None
    if page_token is not None:
        page = read_page_token(page_token, parameters)
        (index, bucket, version), (_, _, until) = page.keys
        first, last, after = page.start, page.end, (chosen[index], RevisionKey(version, bucket))
    wanted = RevisionRange(interval, since_version or 0, until, first, last)
    found = await _read(request, wanted, chosen, limit or DEFAULT_TRADES_LIMIT, after)
    if unproven := set(chosen) - {each.symbol for each in found.revisions}:
        await require_symbols(request, sorted(unproven))
    token, headers = None, {**NO_STORE, "Vary": "Accept", **version_headers(found.until_version)}
    if found.following:
        following, key = found.following
        keys = [(chosen.index(following), key.bucket, key.version), (0, None, found.until_version)]
        token = make_page_token(parameters, PageStart(keys, first, last))
        headers |= next_link(root_path(request) + PATH, known_pairs(request), token)
    if names := services_of(request).names:
        found = found._replace(revisions=[replace(each, symbol=names.name_of(each.symbol)) for each in found.revisions])
    headers = with_link(request, headers, resolved)
    return _respond(given_format or accepted_format(request), found, token, headers, resolved)


async def _read(
    request: Request[Any, Any, Any],
    wanted: RevisionRange,
    symbols: tuple[str, ...],
    limit: int,
    after: tuple[str, RevisionKey] | None,
) -> RevisionPage:
    arguments = wanted, symbols, limit, after
    try:
        try:
            return await read_source(request).read(read_revision_page, *arguments)
        except FutureVersion:  # a replica may lack the version
            read_from_primary(request)
            return await read_source(request).read(read_revision_page, *arguments)
    except FutureVersion as error:
        raise BadParameters([ParameterProblem("since_version", f"is in the future. {error}".strip())]) from None


def _respond(
    given_format: Any, found: RevisionPage, token: str | None, headers: Mapping[str, str], resolved: Resolved
) -> ASGIResponse:
    if given_format == "json":
        answer = RevisionList([*found.revisions], len(found.revisions), found.until_version, token)
        body = encode(with_renamed(answer, resolved, is_list=True))
    else:
        body = write_revisions(given_format, found.revisions)
    return CompleteResponse(body, headers, media_type=MEDIA_TYPES[given_format])
