"""`/udf/config` and `/udf/time`."""

from datetime import UTC, datetime
from typing import Annotated, Final

from litestar import get
from litestar.response.base import ASGIResponse
from msgspec import Struct

from market_data.api.compat.parameters import ForeignOperation, foreign_responses
from market_data.api.compat.udf.values import EXCHANGE, RESOLUTIONS, TYPES
from market_data.api.http.caching import NO_STORE
from market_data.api.http.handlers import json_response
from market_data.models import doc


class Choice(Struct, frozen=True):
    """An entry of a list from which the user chooses."""

    value: str
    name: str
    desc: str = ""


class Configuration(Struct, frozen=True):
    """Abilities of the data feed."""

    supported_resolutions: Annotated[list[str], doc("Seconds, minutes, days, weeks and months.", ["1S", "1", "1D"])]
    exchanges: list[Choice]
    symbols_types: list[Choice]
    supports_search: bool = True
    supports_group_request: bool = False
    supports_marks: bool = True
    supports_timescale_marks: bool = True
    supports_time: bool = True


CONFIGURATION: Final = Configuration(
    [*RESOLUTIONS],
    [Choice("", "All exchanges"), Choice(EXCHANGE, "Market Data Platform")],
    [Choice("", "All types"), *(Choice(name, name.capitalize()) for name in dict.fromkeys(TYPES.values()))],
)


@get(
    "/config",
    summary="Configuration",
    description="Abilities of the data feed; the first request of a chart.",
    operation_class=ForeignOperation,
    responses=foreign_responses(Configuration, "The configuration."),
)
async def config() -> ASGIResponse:
    return json_response(CONFIGURATION, NO_STORE)


@get(
    "/time",
    summary="Time",
    description="Unix time of the service in seconds, as plain text.",
    operation_class=ForeignOperation,
    responses=foreign_responses(str, "The time."),
)
async def time() -> ASGIResponse:
    return ASGIResponse(body=str(int(datetime.now(UTC).timestamp())), media_type="text/plain", headers=NO_STORE)
