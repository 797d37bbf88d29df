"""`/alpaca/v1/corporate-actions`, and `/alpaca/v2/corporate_actions/announcements`, which it has replaced."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from litestar import Request, get
from litestar.params import PathParameter
from litestar.response.base import ASGIResponse
from msgspec import Struct

from market_data.api.compat.alpaca.ranges import Limit, PageToken, Sort, read_day, read_order
from market_data.api.compat.names import asked_names
from market_data.api.compat.parameters import (
    ForeignOperation,
    bad_parameter,
    foreign_responses,
    query,
    read_number,
    read_parameter,
)
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import encode, json_response
from market_data.api.http.naming import loaded_names
from market_data.api.http.paging import PageStart, make_page_token, read_page_token
from market_data.api.http.parameter_types import read_symbols
from market_data.errors import NotFound
from market_data.models import doc
from market_data.models_actions import ActionType
from market_data.names import Names
from market_data.queries.action_lists import ActionFilter, ListedAction, list_actions
from market_data.trade_validation import shown

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
MAX_ANNOUNCEMENTS: Final = 10_000

TYPES: Final[Mapping[str, ActionType | None]] = {
    "forward_split": "split",
    "reverse_split": "split",
    "stock_dividend": "stock_dividend",
    "cash_dividend": "cash_dividend",
    "spin_off": "spin_off",
    "name_change": None,
    "unit_split": None,
    "cash_merger": None,
    "stock_merger": None,
    "stock_and_cash_merger": None,
    "redemption": None,
    "worthless_removal": None,
    "rights_distribution": None,
}
"""Types of the protocol; there are none of those without a type of the service, except changes of names."""

ANNOUNCED: Final[Mapping[str, Sequence[ActionType]]] = {
    "dividend": ("cash_dividend", "stock_dividend"),
    "split": ("split",),
    "spinoff": ("spin_off",),
    "merger": (),
}

SUB_TYPES: Final = {"cash_dividend": "cash", "stock_dividend": "stock", "spin_off": "spinoff"}

Symbols = Annotated[str | None, query("symbols", "Symbols between commas; all by default.", "AAPL,MSFT")]


class AlpacaCorporateActions(Struct, frozen=True):
    """Actions by type, such as `forward_splits`, each sorted by ex-date; types without an action are absent."""

    corporate_actions: dict[str, list[dict[str, Any]]]
    next_page_token: Annotated[str | None, doc("`page_token` of the next page; null on the last page.")]


class AlpacaAnnouncement(Struct, frozen=True, kw_only=True):
    """A corporate action in the older form."""

    id: UUID
    corporate_action_id: str
    ca_type: Annotated[str, doc("`dividend`, `split` or `spinoff`.", "split")]
    ca_sub_type: Annotated[str, doc("`cash`, `stock`, `stock_split`, `reverse_split` or `spinoff`.", "stock_split")]
    initiating_symbol: str
    initiating_original_cusip: str = ""
    target_symbol: Annotated[str | None, doc("The symbol again; null for a spin-off, whose new symbol is unknown.")]
    target_original_cusip: str | None = None
    declaration_date: Annotated[None, doc("Unknown.")] = None
    ex_date: date
    record_date: Annotated[None, doc("Unknown.")] = None
    payable_date: Annotated[None, doc("Unknown.")] = None
    cash: Decimal
    old_rate: Decimal
    new_rate: Decimal


@get(
    "/corporate-actions",
    summary="Corporate actions",
    description=(
        "Splits, dividends and spin-offs whose ex-date is in a range, sorted by it, and changes of names. CUSIPs, and the "
        "new symbols of spin-offs, are unknown and empty; `process_date` is the ex-date. Changes of names come with the "
        "first page, beyond its limit."
    ),
    operation_class=ForeignOperation,
    responses=foreign_responses(AlpacaCorporateActions, "The actions."),
)
async def alpaca_corporate_actions(
    request: Request[Any, Any, Any],
    symbols: Symbols = None,
    types: Annotated[str | None, query("types", "Types between commas; all by default.", "forward_split")] = None,
    start: Annotated[str | None, query("start", "First day; today in UTC by default.", "2020-08-01")] = None,
    end: Annotated[str | None, query("end", "Last day, inclusive; today in UTC by default.", "2020-08-31")] = None,
    ids: Annotated[str | None, query("ids", "Ids between commas, in place of the other filters.")] = None,
    cusips: Annotated[str | None, query("cusips", "No symbol has one: with it, there is no action.")] = None,
    limit: Limit = None,
    page_token: PageToken = None,
    sort: Sort = None,
) -> ASGIResponse:
    order = read_order(sort)
    maximum = read_number("limit", limit or None, DEFAULT_LIMIT, MAX_LIMIT)
    names = await loaded_names(request)
    by_key = asked_names(names, read_parameter("symbols", symbols, read_symbols)) if symbols else {}
    chosen = _read_types(types)
    first, last = _read_days(start, end, is_any=bool(ids))
    kinds: list[ActionType] = list({kind for name in chosen if (kind := TYPES[name])})
    wanted = ActionFilter(list(by_key) or None, kinds, first, last, _read_ids(ids) if ids else None)
    parameters = "actions", symbols or "", sorted(chosen), start or "", end or "", ids or "", order
    after = _key_of(page_token, parameters) if page_token else None
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    token = None
    if kinds and not cusips:
        page = await read_source(request).read(list_actions, wanted, maximum, order, after)
        for each in page.actions:
            name, members = _listed(each, by_key.get(each.symbol) or names.name_of(each.symbol))
            if name in chosen:
                found[f"{name}s"].append(members)
        if page.has_more:
            token = make_page_token(parameters, PageStart([(0, *page.actions[-1].key)]))
    if "name_change" in chosen and not (page_token or cusips):
        changes = _name_changes(names, by_key, first, last)
        found |= {"name_changes": changes if order == "asc" else changes[::-1]} if changes else {}
    return json_response(AlpacaCorporateActions(found, token), NO_STORE)


def _key_of(page_token: str, parameters: Sequence[object]) -> tuple[datetime, int] | None:
    return next(((time, number) for _, time, number in read_page_token(page_token, parameters).keys if time), None)


def _read_types(text: str | None) -> set[str]:
    given = {name for name in (text or "").lower().split(",") if name} or set(TYPES)
    for name in sorted(given):
        if name not in TYPES:
            raise bad_parameter("types", f"must be some of {', '.join(TYPES)}, not {shown(name)}")
    return given


def _read_days(start: str | None, end: str | None, *, is_any: bool) -> tuple[date | None, date | None]:
    if is_any:
        return None, None
    today = datetime.now(UTC).date()
    first = read_parameter("start", start, read_day) if start else today
    last = read_parameter("end", end, read_day) if end else today
    if last < first:
        raise bad_parameter("end", "must not be before start; both are today by default")
    return first, last


def _read_ids(text: str) -> list[UUID]:
    try:
        return [UUID(each) for each in text.split(",")]
    except ValueError:
        raise bad_parameter("ids", f"must be UUIDs between commas, not {shown(text)}") from None


def _rates(action: ListedAction) -> tuple[Decimal, Decimal]:
    """Return shares after and before an action."""
    return action.terms.ratio or (Decimal(1), Decimal(1))


def _listed(action: ListedAction, symbol: str) -> tuple[str, dict[str, Any]]:
    """Return the type of an action, and its members."""
    after, before = _rates(action)
    day = action.terms.ex_date
    dates: dict[str, Any] = {"id": action.uuid, "process_date": day, "ex_date": day}
    match action.terms.type:
        case "split":
            members = {**dates, "symbol": symbol, "new_rate": after, "old_rate": before}
            if after < before:
                return "reverse_split", {**members, "old_cusip": "", "new_cusip": ""}
            return "forward_split", {**members, "cusip": ""}
        case "stock_dividend":
            return "stock_dividend", {**dates, "symbol": symbol, "cusip": "", "rate": _quotient(after - before, before)}
        case "cash_dividend":
            more = {"rate": action.terms.amount, "special": False, "foreign": False}
            return "cash_dividend", {**dates, "symbol": symbol, "cusip": "", **more}
        case "spin_off":
            source = {"source_symbol": symbol, "source_cusip": "", "source_rate": before}
            return "spin_off", {**dates, **source, "new_symbol": "", "new_cusip": "", "new_rate": abs(after - before)}


def _quotient(dividend: Decimal, divisor: Decimal) -> float:
    return float(dividend / divisor)


def _name_changes(names: Names, by_key: Mapping[str, str], first: date | None, last: date | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for before, after in names.changes():
        if (
            not (first and last and after.since)
            or not first <= after.since.date() <= last
            or (by_key and after.symbol not in by_key)
        ):
            continue
        identifier = uuid5(NAMESPACE_URL, f"name:{after.symbol}:{after.since.isoformat()}")
        cusips = {"old_cusip": "", "new_cusip": ""}
        shown_names = {"old_symbol": before.name, "new_symbol": after.name}
        found.append({"id": identifier, **shown_names, **cusips, "process_date": after.since.date()})
    return sorted(found, key=lambda each: (each["process_date"], each["new_symbol"]))


@get(
    "/corporate_actions/announcements",
    summary="Announcements",
    description=(
        "The same actions in the older form of the protocol. Ex-dates are the only dates that are known: with another "
        "`date_type` there is none."
    ),
    operation_class=ForeignOperation,
    responses=foreign_responses(list[AlpacaAnnouncement], "The actions."),
)
async def alpaca_announcements(
    request: Request[Any, Any, Any],
    ca_types: Annotated[str | None, query("ca_types", "`dividend`, `split`, `spinoff`, `merger`, between commas.")] = None,
    since: Annotated[str | None, query("since", "First day; required.", "2020-08-01")] = None,
    until: Annotated[str | None, query("until", "Last day, inclusive; required.", "2020-08-31")] = None,
    symbol: Annotated[str | None, query("symbol", "One symbol; all by default.", "AAPL")] = None,
    cusip: Annotated[str | None, query("cusip", "No symbol has one: with it, there is no action.")] = None,
    date_type: Annotated[str | None, query("date_type", "`ex_date`, the default.", "ex_date")] = None,
) -> ASGIResponse:
    kinds: set[ActionType] = set()
    for name in (ca_types or ",".join(ANNOUNCED)).lower().split(","):
        if name not in ANNOUNCED:
            raise bad_parameter("ca_types", f"must be some of {', '.join(ANNOUNCED)}, not {shown(name)}")
        kinds |= set(ANNOUNCED[name])
    if not since or not until:
        raise bad_parameter("since" if not since else "until", "is required, for example since=2020-08-01")
    first, last = read_parameter("since", since, read_day), read_parameter("until", until, read_day)
    names = await loaded_names(request)
    by_key = asked_names(names, read_parameter("symbol", symbol, read_symbols)) if symbol else {}
    if cusip or (date_type or "ex_date") != "ex_date" or not kinds:
        return CompleteResponse(b"[]", NO_STORE)
    wanted = ActionFilter(list(by_key) or None, list(kinds), first, last)
    page = await read_source(request).read(list_actions, wanted, MAX_ANNOUNCEMENTS)
    found = [_announcement(each, by_key.get(each.symbol) or names.name_of(each.symbol)) for each in page.actions]
    return CompleteResponse(encode(found), NO_STORE)


@get(
    "/corporate_actions/announcements/{announcement:str}",
    summary="Announcement",
    description="One of them, by its `id`.",
    operation_class=ForeignOperation,
    responses=foreign_responses(AlpacaAnnouncement, "The action."),
)
async def alpaca_announcement(
    request: Request[Any, Any, Any], announcement: Annotated[str, PathParameter(description="The `id`.")]
) -> ASGIResponse:
    names = await loaded_names(request)
    page = await read_source(request).read(list_actions, ActionFilter(uuids=_read_ids(announcement)), 1)
    if not page.actions:
        raise NotFound(f"announcement not found for {shown(announcement)}")
    (found,) = page.actions
    return json_response(_announcement(found, names.name_of(found.symbol)), NO_STORE)


def _announcement(action: ListedAction, symbol: str) -> AlpacaAnnouncement:
    after, before = _rates(action)
    kind = action.terms.type
    general = next(name for name, kinds in ANNOUNCED.items() if kind in kinds)
    return AlpacaAnnouncement(
        id=action.uuid,
        corporate_action_id=action.id,
        ca_type=general,
        ca_sub_type=SUB_TYPES.get(kind) or ("reverse_split" if after < before else "stock_split"),
        initiating_symbol=symbol,
        target_symbol=None if kind == "spin_off" else symbol,
        ex_date=action.terms.ex_date,
        cash=(action.terms.amount or Decimal(0)) if kind == "cash_dividend" else Decimal(0),
        old_rate=before,
        new_rate=after,
    )
