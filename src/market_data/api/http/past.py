"""Versions of answers, and reads of the past: `Data-Version` and `as_of`."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from litestar import Request

from market_data.api.http.caching import IMMUTABLE, NO_STORE, PRIVATE_IMMUTABLE
from market_data.api.http.consistency import read_from_primary, read_source
from market_data.api.http.paging import version_of_page
from market_data.api.http.parameter_types import VERSION, read_time_bound
from market_data.errors import BadParameters, FutureVersion
from market_data.models import ParameterProblem
from market_data.queries.past import AsOf, read_as_of, read_version, read_version_at
from market_data.services import services_of
from market_data.trade_validation import shown

DATA_VERSION: Final = "Data-Version"

CLOSE: Final = "close"

MOMENT_FORMS: Final = "a version such as 412, or a time such as 2026-02-08T10:30:00Z, 2026-02-08 (midnight UTC) or now-1h"

SETTLED_AFTER: Final = timedelta(minutes=1)
"""Age of a time whose answer is immutable: by then, every commit of before is surely visible."""


class PastMoment(NamedTuple):
    """The value of `as_of`: a version, or a time."""

    version: int | None
    time: datetime | None = None
    relative: str | None = None
    """Notation of a value that depends on the time of the request, such as `now-1h`."""

    @property
    def is_close(self) -> bool:
        """True if each candle is that of its own close."""
        return self.relative == CLOSE

    @property
    def identity(self) -> tuple[object, ...]:
        """The value as the client gave it."""
        return (self.version, self.relative or self.time)


def read_moment(text: str) -> PastMoment:
    """Return the value of `as_of`. A whole number is always a version, never a Unix time."""
    if VERSION.fullmatch(text):
        return PastMoment(int(text))
    try:
        bound = read_time_bound(text)
    except ValueError as error:
        if str(error).startswith("must be"):
            raise ValueError(f"must be {MOMENT_FORMS}, not {shown(text)}") from None
        raise
    return PastMoment(None, bound.time, bound.relative)


def read_close(text: str) -> PastMoment:
    """Return the value of `as_of` of candles, which may be `close`, too."""
    if text == CLOSE:
        return PastMoment(None, relative=CLOSE)
    try:
        return read_moment(text)
    except ValueError as error:
        raise ValueError(str(error).replace(MOMENT_FORMS, f"{MOMENT_FORMS}, or {CLOSE}")) from None


async def find_close(request: Request[Any, Any, Any], grace: timedelta) -> AsOf:
    """Return the newest version, for candles as they stood a grace period after their close."""
    source = read_source(request)
    as_of = await source.read(read_as_of, await source.read(read_version), datetime.now(UTC))
    return as_of._replace(grace=grace)


async def find_version(
    request: Request[Any, Any, Any], moment: PastMoment | None, page_token: str | None = None
) -> AsOf | None:
    """Return the version that `as_of` names; None without one. All pages of a relative time have that of the first page.

    The reads of the request then go to the primary if the replica does not have the version yet.

    Raises:
        BadParameters: It is in the future.
        Gone: The trades of that version have been dropped.
    """
    if moment is None:
        return None
    primary = services_of(request).database
    version = moment.version or 0
    try:
        if moment.relative and page_token and (found := version_of_page(page_token)) is not None:
            version = found
        elif moment.time:  # of the primary, because a replica may lack commits of that time
            version = await primary.read(read_version_at, moment.time, is_relative=moment.relative is not None)
        try:
            return await read_source(request).read(read_as_of, version, moment.time)
        except FutureVersion:
            read_from_primary(request)
            return await primary.read(read_as_of, version, moment.time)
    except FutureVersion as error:
        raise BadParameters([ParameterProblem("as_of", f"is in the future. {error}".strip())]) from None


def version_headers(version: int | None) -> Mapping[str, str]:
    """Return the header with the version of an answer; none if no version describes it."""
    return {} if version is None else {DATA_VERSION: str(version)}


def caching_of(request: Request[Any, Any, Any], moment: PastMoment | None) -> Mapping[str, str]:
    """Return the `Cache-Control` of an answer that has no entity tag of its own. One of the past never changes."""
    if moment is None or moment.relative or (moment.time and moment.time > datetime.now(UTC) - SETTLED_AFTER):
        return NO_STORE
    return PRIVATE_IMMUTABLE if services_of(request).settings.auth == "required" else IMMUTABLE
