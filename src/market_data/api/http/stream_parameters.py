"""Query and header parameters of streams and replays."""

from typing import TYPE_CHECKING, Annotated, Any, Final, get_args

from litestar.params import HeaderParameter

from market_data.api.http.parameter_types import parsed, parsed_choice, read_channels, read_event_id, read_speed
from market_data.api.http.parameters import (
    NOTATIONS,
    TIME_SCHEMA,
    OptionalSession,
    OptionalTime,
    one_of,
    query,
    session_query,
)
from market_data.streaming.events import ID_PATTERN, EventId
from market_data.streaming.playback.replays import ReplayOrder
from market_data.streaming.subscriptions import CHANNELS

if TYPE_CHECKING:
    Channels = tuple[str, ...] | None
    OptionalEventId = EventId | None
    OptionalSpeed = float | None
    OptionalReplayOrder = ReplayOrder | None
else:
    Channels = parsed(read_channels, tuple)
    OptionalEventId = parsed(read_event_id, EventId)
    OptionalSpeed = parsed(read_speed, float)
    OptionalReplayOrder = parsed_choice(get_args(ReplayOrder))

_CHANNEL = "|".join(CHANNELS)
_EVENT_ID_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": f"^({ID_PATTERN.pattern})?$"}

ChannelsParameter = Annotated[
    Channels,
    query(
        "channels",
        "Channels, separated by commas: `trades`, `candles_1m` and so on, `revisions`; by default `trades`.",
        "trades,candles_1m",
        type="string",
        pattern=f"^({_CHANNEL})(,({_CHANNEL}))*$",
    ),
]
LastEventIdParameter = Annotated[
    OptionalEventId,
    query(
        "last_event_id",
        "Id of the last received event, for clients that can't send the header `Last-Event-ID`. Empty: none.",
        **_EVENT_ID_SCHEMA,
    ),
]
LastEventIdHeader = Annotated[
    OptionalEventId,
    query("Last-Event-ID", "As `last_event_id`, and takes precedence over it.", kind=HeaderParameter, **_EVENT_ID_SCHEMA),
]
FromParameter = Annotated[
    OptionalTime,
    query("from", f"Replays the past from this time, inclusive, instead of the live stream. {NOTATIONS}", **TIME_SCHEMA),
]
ToParameter = Annotated[
    OptionalTime,
    query("to", "End of a replay, exclusive; notations as for `from`. Default: now, at the start.", **TIME_SCHEMA),
]
SpeedParameter = Annotated[
    OptionalSpeed,
    query(
        "speed",
        "Speed of a replay: virtual seconds per second, such as `1` (the default), `10` or `60`; `max`: as fast as the "
        "client reads.",
        type="string",
        pattern=r"^([0-9]{1,9}(\.[0-9]{1,9})?|max)$",
    ),
]
StreamSessionParameter = Annotated[
    OptionalSession,
    session_query(
        "`regular` for the trades and candles of regular trading and its closing auction, `extended` for those of pre- and "
        "post-market as well, by the calendar of the symbol. Default: `all`."
    ),
]
ReplayOrderParameter = Annotated[
    OptionalReplayOrder,
    query(
        "order",
        "Order of a replay: `known` (the default) plays commits in their order, with late, corrected and cancelled trades "
        "as the live stream sent them; `time` plays the trades as they are known now, in the order in which they happened.",
        **one_of("ReplayOrder", get_args(ReplayOrder)),
    ),
]
