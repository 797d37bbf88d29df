"""Streams of events: server-sent events at `/stream`. `websocket.py` sends the same events at `/ws`.

Litestar's server-sent events are not used because they encode each event again for each client.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any

from litestar import Request, get
from litestar.connection import ASGIConnection
from litestar.openapi.spec import Example
from litestar.response.base import ASGIResponse

from market_data.api.http.handlers import raise_unknown
from market_data.api.http.naming import resolve_all, with_link
from market_data.api.http.openapi import openapi_operation, problem_responses, response
from market_data.api.http.parameter_types import TimeBound
from market_data.api.http.parameters import SymbolsParameter
from market_data.api.http.stream_parameters import (
    ChannelsParameter,
    FromParameter,
    LastEventIdHeader,
    LastEventIdParameter,
    ReplayOrderParameter,
    SpeedParameter,
    StreamSessionParameter,
    ToParameter,
)
from market_data.api.http.streaming_response import StreamingResponse
from market_data.api.replay import prepare_replay, read_replay
from market_data.auth.api_keys import ApiKey
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.queries.candles import SessionKind
from market_data.services import services_of
from market_data.streaming.clients import Client
from market_data.streaming.events import Message
from market_data.streaming.hub import Hub
from market_data.streaming.subscriptions import REVISIONS, Subscription

DESCRIPTION = """
Server-sent events, from now on or after `Last-Event-ID`. Each has an `id`, an `event` and its `data` as JSON. The `version`
of a trade, candle or reload is that of the data that it shows, as in `Data-Version`.

* `trade`: a stored trade, with the fields of `/trades`; or a change of one, by any client. `change: "corrected"` comes with
  the new price and volume, `change: "cancelled"` with the last ones, and both with `latest`, the latest trade of the symbol
  after the change as in `/price/latest` (null if none is left). A trade that is moved is cancelled, and stored again.
* `candle`: with the fields of `/candles`, its `symbol` and `interval`. Sent after each commit that changed trades of an open
  bucket; with `closed: true` within two seconds after the end of the bucket; and with `revised: true` after a late,
  corrected or cancelled trade has changed a closed candle. If both apply, only the latter is sent. With `removed: true`, and
  without prices, if the bucket has no trade any more.
* `revision`: closed candles of a `symbol` that a commit has changed, in the channel `revisions`: `revisions` are the entries
  of `/revisions` of all stored intervals. Sent at once, once for each `version`; bulk history comes as `reload`.
* `reload`: history of a `symbol` from `start` (inclusive) to `end` (exclusive) was loaded or deleted in bulk, without an
  event for each trade, and its candles are up to date. Sent once to each client that is subscribed to the
  symbol in any channel. Read `/price/latest`, `/trades` and `/candles` of the range again.
* `heartbeat`: at once, and every ten seconds while the service follows the database. Reconnect after 25 seconds without. The
  first one has a `retry` of one to five seconds, so that not all clients return at once after a restart.
* `gap`: the events after `Last-Event-ID` are no longer available, because they are kept for an hour. Read `/trades` and
  `/candles` for the missing time; the stream continues from now.
* `bye`: the reason why the service ends the stream: the client reads too slowly, the service stops, the database was
  replaced, or the client's key was revoked or has expired.

With `from`, the past is replayed, up to `to`, at a `speed`, with the same events and two more. After its last event, the
stream ends:

* `clock`: the virtual time as `timestamp`, with `speed` and `paused`: at once, about once a second, and after each command.
  The `timestamp` of a heartbeat is virtual as well.
* `end`: the replay has reached its end, the `timestamp`.

With `session=regular` or `extended`, there are only trades of these sessions, by the calendar of the symbol, and the candles
are those of `/candles` with the same `session`: a day is a session. They close when their bucket ends, after the closing
auction. It can't be combined with `from` and with the channel `revisions`.

A `symbol` is shown by its present name, from the moment of a rename on. A former name in `symbols` subscribes to the symbol
that had it last; the response then has a `Link` to the same stream by present names.

In `order=known`, the default, ids are those of the live stream up to their middle number, which counts the subscribed rows
of a commit. In `order=time`, they have the version that is played, and count the events; there are no changes, and so no
channel `revisions`.

Ids follow the order of commits and are the same at all replicas. A client that reconnects with the id of the last event that
it received (a browser's `EventSource` does so by itself) misses no event and receives none twice; of several missed changes
of a candle it receives the newest.

`/ws` has the same as WebSocket messages, with the same parameters and, while connected, `{"action": "subscribe",
"symbols": ["AAPL"], "channels": ["trades", "candles_1m"]}` and `unsubscribe` likewise; each event is a message `{"event": …,
"id": …, "data": …}`. Without parameters, the client is subscribed to nothing at first. With `"last_event_id"`, `subscribe`
first sends the events that were missed since. A page sends its key as a subprotocol, `new WebSocket(url, ["bearer", key])`,
or in its first message, `{"action": "authenticate", "key": …}`. In a replay, it also takes `{"action": "pause"}`, `resume`,
`step` (plays the next commit, sends a `clock` after it, and pauses), `{"action": "seek", "time": "2026-02-08T10:30:00Z"}`
within the replay, and `{"action": "speed", "speed": 60}` or `"max"`; each is answered with a `clock`.

    curl -N 'http://127.0.0.1:8000/stream?symbols=AAPL&channels=trades,candles_1m'
"""

EXAMPLE = """id: 412-1-0
event: trade
data: {"symbol":"AAPL","price":189.44,"volume":3,"timestamp":"2026-02-08T10:30:00.123456Z","trade_id":0,"version":412}

"""

HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
"""Headers against proxies that hold back events: those that compress responses, and nginx, which buffers them."""


@get(
    "/stream",
    summary="Live trades and candles",
    description=DESCRIPTION.strip(),
    tags=["Live"],
    operation_class=openapi_operation(),
    responses={
        200: response(
            str, "Events, until the client disconnects.", media_type="text/event-stream", examples=[Example(value=EXAMPLE)]
        ),
        **problem_responses(400, 404, 410, 500, 503),
    },
)
async def stream(
    request: Request[Any, Any, Any],
    symbols: SymbolsParameter = None,
    channels: ChannelsParameter = None,
    last_event_id: LastEventIdParameter = None,
    last_event_id_header: LastEventIdHeader = None,
    from_: FromParameter = None,
    to: ToParameter = None,
    speed: SpeedParameter = None,
    order: ReplayOrderParameter = None,
    session: StreamSessionParameter = None,
) -> ASGIResponse:
    last_event_ids = {"Last-Event-ID": last_event_id_header, "last_event_id": last_event_id}
    replay = read_replay(from_, to, speed, order, last_event_ids)
    check_session(session, from_, channels)
    resolved = await resolve_all(request, symbols)
    subscription = await subscription_of(request, resolved and resolved.keys, channels, session)
    client = Client("sse", subscription, key_id_of(request))
    if player := await prepare_replay(request, client, replay):
        messages = services_of(request).replays.messages(player)
    else:
        messages = hub_of(request).messages(client, last_event_id_header or last_event_id)
    pieces, headers = _joined(messages), with_link(request, HEADERS, resolved)
    return StreamingResponse(pieces, media_type="text/event-stream", headers=headers, on_disconnect=client.close)


async def _joined(messages: AsyncGenerator[list[Message]]) -> AsyncGenerator[bytes]:
    async with aclosing(messages):
        async for batch in messages:
            yield b"".join(message.text for message in batch)


async def subscription_of(
    connection: ASGIConnection[Any, Any, Any, Any],
    symbols: tuple[str, ...] | None,
    channels: tuple[str, ...] | None,
    session: SessionKind | None,
) -> Subscription:
    """Return a subscription to symbols, by their keys; None for all."""
    await hub_of(connection).wait_until_ready()
    if symbols is not None:
        await require_streamed_symbols(connection, symbols)
    return Subscription.to(channels or ("trades",), None if symbols is None else frozenset(symbols), session or "all")


def check_session(session: SessionKind | None, start: TimeBound | None, channels: Iterable[str] | None) -> None:
    """Raise BadParameters if sessions are combined with a replay or with revisions."""
    if session in (None, "all"):
        return
    if start:
        raise BadParameters([ParameterProblem("session", f"{session} can't be combined with from; replay all trades")])
    if REVISIONS in (channels or ()):
        raise BadParameters([ParameterProblem("channels", f"revisions can't be combined with session={session}")])


async def require_streamed_symbols(connection: ASGIConnection[Any, Any, Any, Any], symbols: Sequence[str]) -> None:
    """Check that symbols are known; thousands of clients share a statement.

    Raises:
        NotFound: Some are unknown.
    """
    raise_unknown(await services_of(connection).streamed_symbols.unknown(symbols))


def key_id_of(request: ASGIConnection[Any, Any, Any, Any]) -> int | None:
    key: ApiKey | None = request.scope["state"]["key"]
    return key.id if key else None


def hub_of(request: ASGIConnection[Any, Any, Any, Any]) -> Hub:
    return services_of(request).hub
