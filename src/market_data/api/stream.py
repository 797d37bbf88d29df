"""Streams of events: server-sent events at `/stream`, and the same events as WebSocket messages at `/ws`.

Litestar's server-sent events are not used because they encode each event again for each client.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, WebSocket, get, websocket
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, WebSocketDisconnect
from litestar.openapi.spec import Example
from litestar.response.base import ASGIResponse
from msgspec import Meta, Struct

from market_data.api.http.caching import NO_STORE
from market_data.api.http.handlers import require_symbols
from market_data.api.http.openapi import openapi_operation, problem_responses, response
from market_data.api.http.parameter_types import read_channels, read_symbols
from market_data.api.http.parameters import (
    ChannelsParameter,
    LastEventIdHeader,
    LastEventIdParameter,
    SymbolsParameter,
    read_parameters,
)
from market_data.api.http.streaming_response import StreamingResponse
from market_data.auth.api_keys import ApiKey
from market_data.errors import BadParameters, DatabaseUnavailable, MarketDataError
from market_data.services import services_of
from market_data.streaming.clients import Client
from market_data.streaming.events import EventId, Message
from market_data.streaming.hub import Hub
from market_data.streaming.subscriptions import Subscription

logger = logging.getLogger(__name__)

DESCRIPTION = """
Server-sent events, from now on or after `Last-Event-ID`. Each has an `id`, an `event` and its `data` as JSON:

* `trade`: a stored trade, with the fields of `/trades`; or a change of one, by any client. `change: "corrected"` comes with
  the new price and volume, `change: "cancelled"` with the last ones, and both with `latest`, the latest trade of the symbol
  after the change as in `/price/latest` (null if none is left). A trade that is moved is cancelled, and stored again.
* `candle`: with the fields of `/candles`, its `symbol` and `interval`. Sent after each commit that changed trades of an open
  bucket; with `closed: true` within two seconds after the end of the bucket; and with `revised: true` after a late,
  corrected or cancelled trade has changed a closed candle. If both apply, only the latter is sent. With `removed: true`, and
  without prices, if the bucket has no trade any more.
* `reload`: history of a `symbol` from `start` (inclusive) to `end` (exclusive) was loaded or deleted in bulk, without an
  event for each trade, and its candles are up to date. Sent once, in whatever channels the symbol is subscribed. Read
  `/price/latest`, `/trades` and `/candles` of the range again.
* `heartbeat`: at once, and every ten seconds while the service follows the database. Reconnect after 25 seconds without.
* `gap`: the events after `Last-Event-ID` are no longer available, because they are kept for an hour. Read `/trades` and
  `/candles` for the missing time; the stream continues from now.
* `bye`: the reason why the service ends the stream: the client reads too slowly, the service stops, the database was
  replaced, or the client's key was revoked or has expired.

Ids follow the order of commits and are the same at all replicas. A client that reconnects with the id of the last event that
it received (a browser's `EventSource` does so by itself) misses no event and receives none twice; of several missed changes
of a candle it receives the newest.

`/ws` has the same as WebSocket messages, with the same parameters and, while connected, `{"action": "subscribe",
"symbols": ["AAPL"], "channels": ["trades", "candles_1m"]}` and `unsubscribe` likewise; each event is a message `{"event": …,
"id": …, "data": …}`. Without parameters, the client is subscribed to nothing at first.

    curl -N 'http://127.0.0.1:8000/stream?symbols=AAPL&channels=trades,candles_1m'
"""

EXAMPLE = """id: 412-1-0
event: trade
data: {"symbol":"AAPL","price":189.44,"volume":3,"timestamp":"2026-02-08T10:30:00.123456Z","trade_id":0}

"""

HEADERS = {**NO_STORE, "X-Accel-Buffering": "no"}  # stops nginx from buffering events

TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008
"""Close codes of a WebSocket (RFC 6455 and IANA's registry)."""


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
        **problem_responses(400, 404, 500, 503),
    },
)
async def stream(
    request: Request[Any, Any, Any],
    symbols: SymbolsParameter = None,
    channels: ChannelsParameter = None,
    last_event_id: LastEventIdParameter = None,
    last_event_id_header: LastEventIdHeader = None,
) -> ASGIResponse:
    subscription = await _subscription(request, symbols, channels)
    client = Client("sse", subscription, _key_id(request))
    pieces = _joined(_hub(request).messages(client, last_event_id_header or last_event_id))
    return StreamingResponse(pieces, media_type="text/event-stream", headers=HEADERS, on_disconnect=client.close)


async def _joined(messages: AsyncGenerator[list[Message]]) -> AsyncGenerator[bytes]:
    async with aclosing(messages):
        async for batch in messages:
            yield b"".join(message.text for message in batch)


async def _subscription(
    connection: ASGIConnection[Any, Any, Any, Any], symbols: tuple[str, ...] | None, channels: tuple[str, ...] | None
) -> Subscription:
    await _hub(connection).wait_until_ready()
    if symbols is not None:
        await require_symbols(connection, symbols)
    return Subscription.to(channels or ("trades",), None if symbols is None else frozenset(symbols))


def _key_id(request: ASGIConnection[Any, Any, Any, Any]) -> int | None:
    key: ApiKey | None = request.scope["state"]["key"]
    return key.id if key else None


def _hub(request: ASGIConnection[Any, Any, Any, Any]) -> Hub:
    return services_of(request).hub


MAX_ERROR_LENGTH = 300
"""Characters of an error about a message, because the decoder repeats the words of the message."""


class Command(Struct, forbid_unknown_fields=True):
    """A message from a WebSocket client."""

    action: Literal["subscribe", "unsubscribe"]
    symbols: Annotated[list[str], Meta(min_length=1)] | None = None
    """None for all symbols."""
    channels: Annotated[list[str], Meta(min_length=1)] = msgspec.field(default_factory=lambda: ["trades"])


read_command = msgspec.json.Decoder(Command).decode


@websocket("/ws")
async def messages(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    try:
        given = read_parameters(socket, stream)
        subscription = await _subscription(socket, given["symbols"], given["channels"])
    except MarketDataError as error:
        await socket.send_text(_message("error", {"detail": str(error)}))
        await socket.close(POLICY_VIOLATION if isinstance(error, BadParameters) else TRY_AGAIN_LATER)
        return
    client = Client("websocket", subscription if socket.scope["query_string"] else Subscription(), _key_id(socket))
    after = given["last_event_id_header"] or given["last_event_id"]
    sending = asyncio.create_task(_send(socket, client, after))
    try:
        while True:
            await _execute(socket, client, await socket.receive_text())
    except WebSocketDisconnect:
        client.close()
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending


@get("/ws", include_in_schema=False)
async def no_websocket() -> None:
    raise HTTPException(
        "Connect to /ws with a WebSocket client; GET /stream has the same for others.",
        status_code=HTTPStatus.UPGRADE_REQUIRED,
        headers={"Upgrade": "websocket"},
    )


async def _send(socket: WebSocket[Any, Any, Any], client: Client, after: EventId | None) -> None:
    """Send a client its messages, and close the WebSocket after the last."""
    try:
        async with aclosing(_hub(socket).messages(client, after)) as messages:
            async for batch in messages:
                for message in batch:
                    await socket.send_text(message.text)
    except DatabaseUnavailable as error:
        logger.warning("stream aborted: %s", error)
    except OSError:
        return  # the client has disconnected
    except Exception:
        logger.exception("stream aborted")
    with suppress(OSError, RuntimeError):  # the client may have disconnected
        await socket.close(POLICY_VIOLATION if client.key_ended else TRY_AGAIN_LATER)


async def _execute(socket: WebSocket[Any, Any, Any], client: Client, text: str) -> None:
    """Execute a command, and send the client its new subscription, or the error."""
    try:
        command = read_command(text)
        symbols = None if command.symbols is None else frozenset(read_symbols(",".join(command.symbols)))
        requested = Subscription.to(read_channels(",".join(command.channels)), symbols)
        if symbols and command.action == "subscribe":
            await require_symbols(socket, sorted(symbols))
        wanted = client.subscription | requested if command.action == "subscribe" else client.subscription - requested
    except msgspec.DecodeError as error:
        _enqueue(client, "error", {"detail": f"message: {error}"[:MAX_ERROR_LENGTH]})
    except (MarketDataError, ValueError) as error:
        _enqueue(client, "error", {"detail": str(error)})
    else:
        _hub(socket).subscribe(client, wanted)
        channels = {channel: "all" if some is None else sorted(some) for channel, some in sorted(wanted.items)}
        _enqueue(client, "subscribed", {"channels": channels})


def _enqueue(client: Client, event: str, data: dict[str, Any]) -> None:
    client.enqueue([Message(client.delivered_up_to, _message(event, data))], client.delivered_up_to)


def _message(event: str, data: dict[str, Any]) -> bytes:
    """Return a message without an id, because it is outside the order of events."""
    return msgspec.json.encode({"event": event, "data": data})
