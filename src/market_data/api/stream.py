"""Streams of events: server-sent events at `/stream`, and the same events as WebSocket messages at `/ws`.

Litestar's server-sent events are not used because they encode each event again for each client.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any

from litestar import Request, WebSocket, get, websocket
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, WebSocketDisconnect
from litestar.openapi.spec import Example
from litestar.response.base import ASGIResponse

from market_data.api.http.handlers import require_symbols
from market_data.api.http.openapi import openapi_operation, problem_responses, response
from market_data.api.http.parameters import (
    ChannelsParameter,
    LastEventIdHeader,
    LastEventIdParameter,
    SymbolsParameter,
    read_parameters,
)
from market_data.api.http.problems import POLICY_VIOLATION
from market_data.api.http.streaming_response import StreamingResponse
from market_data.api.http.websocket_messages import BEARER, TRY_AGAIN_LATER, close_with_error, encode_reply
from market_data.api.stream_commands import Command, read_command
from market_data.auth.api_keys import KEY_NEEDED, ApiKey, require_scope
from market_data.errors import BadParameters, DatabaseUnavailable, MarketDataError, Unauthorized
from market_data.models import ParameterProblem
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
  event for each trade, and its candles are up to date. Sent once to each client that is subscribed to the
  symbol in any channel. Read `/price/latest`, `/trades` and `/candles` of the range again.
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
"id": …, "data": …}`. Without parameters, the client is subscribed to nothing at first. With `"last_event_id"`, `subscribe`
first sends the events that were missed since. A page sends its key as a subprotocol, `new WebSocket(url, ["bearer", key])`,
or in its first message, `{"action": "authenticate", "key": …}`.

    curl -N 'http://127.0.0.1:8000/stream?symbols=AAPL&channels=trades,candles_1m'
"""

EXAMPLE = """id: 412-1-0
event: trade
data: {"symbol":"AAPL","price":189.44,"volume":3,"timestamp":"2026-02-08T10:30:00.123456Z","trade_id":0}

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


AUTHENTICATION_SECONDS = 10.0
"""Time for the first message of a client that has not sent its key yet."""

KEY_IN_MESSAGE = """A client that can't send headers sends {"action": "authenticate", "key": "md_…"} as its first message."""

MAX_ERROR_LENGTH = 300
"""Characters of an error about a message, which may repeat parts of it."""


@websocket("/ws", opt={"authenticates": True})
async def messages(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept(BEARER if BEARER in socket.scope["subprotocols"] else None)
    try:
        await _require_key(socket)
        given = read_parameters(socket, stream)
        subscription = await _subscription(socket, given["symbols"], given["channels"])
    except MarketDataError as error:
        with suppress(OSError, RuntimeError):  # the client may have disconnected
            await close_with_error(socket.send, error)
        return
    except (WebSocketDisconnect, OSError):
        return
    client = Client("websocket", subscription if socket.scope["query_string"] else Subscription(), _key_id(socket))
    after = given["last_event_id_header"] or given["last_event_id"]
    sending = asyncio.create_task(_send(socket, client, after))
    try:
        while True:
            await _execute(socket, client)
    except WebSocketDisconnect:
        client.close()
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending


async def _require_key(socket: WebSocket[Any, Any, Any]) -> None:
    """Wait for the key in the first message, if reading needs one and the handshake had none.

    Raises:
        Unauthorized: The first message has no valid key, or does not arrive in time.
    """
    if socket.scope["state"]["key"] or services_of(socket).settings.auth == "open":
        return
    try:
        async with asyncio.timeout(AUTHENTICATION_SECONDS):
            command = read_command(await _receive_text(socket))
    except TimeoutError:
        command = None
    if command is None or command.action != "authenticate":
        raise Unauthorized(f"{KEY_NEEDED.format(scope='read')} {KEY_IN_MESSAGE}")
    key = await _authenticate(socket, command.key)
    await socket.send_text(encode_reply("authenticated", key))


async def _authenticate(socket: WebSocket[Any, Any, Any], secret: str) -> dict[str, Any]:
    """Set the key of a connection, and return what the client is told about it."""
    key = await services_of(socket).api_keys.authenticate(secret)
    require_scope(key, "read")
    socket.scope["state"]["key"] = key
    return {"name": key.name, "scopes": sorted(key.scopes)}


async def _receive_text(socket: WebSocket[Any, Any, Any]) -> str:
    """Return the next message.

    Raises:
        BadParameters: It is binary.
        WebSocketDisconnect: The client has disconnected.
    """
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(detail="the client has disconnected", code=message["code"])
    text = message.get("text")
    if text is None:
        raise BadParameters([ParameterProblem("message", "is binary; send the JSON as a text message")])
    return text


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
        await socket.close(TRY_AGAIN_LATER if client.reconnectable else POLICY_VIOLATION)


async def _execute(socket: WebSocket[Any, Any, Any], client: Client) -> None:
    """Execute the next command, and send the client its new subscription, or the error.

    Raises:
        WebSocketDisconnect: The client has disconnected.
    """
    try:
        command = read_command(await _receive_text(socket))
        match command.action:
            case "authenticate":
                _enqueue(client, "authenticated", await _authenticate(socket, command.key))
                client.key_id = _key_id(socket)
            case "subscribe":
                if command.symbols:
                    await require_symbols(socket, sorted(command.symbols))
                await _subscribe(socket, client, command)
            case "unsubscribe":
                wanted = client.subscription - command.subscription
                _hub(socket).subscribe(client, wanted)
                _enqueue_subscription(client, wanted)
    except (MarketDataError, ValueError) as error:
        _enqueue(client, "error", {"detail": str(error)[:MAX_ERROR_LENGTH]})
        if isinstance(error, Unauthorized):  # a second attempt needs a new handshake, which the rate limit counts
            client.close(reconnectable=False)


async def _subscribe(socket: WebSocket[Any, Any, Any], client: Client, command: Command) -> None:
    wanted = client.subscription | command.subscription
    if command.last_event_id is None:
        _hub(socket).subscribe(client, wanted)
        _enqueue_subscription(client, wanted)
        return
    _enqueue_subscription(client, wanted)
    try:
        await _hub(socket).resume(client, command.subscription, command.last_event_id)
    except DatabaseUnavailable as error:
        logger.warning("stream aborted: %s", error)
        client.close()


def _enqueue_subscription(client: Client, subscription: Subscription) -> None:
    channels = {channel: "all" if some is None else sorted(some) for channel, some in sorted(subscription.items)}
    _enqueue(client, "subscribed", {"channels": channels})


def _enqueue(client: Client, event: str, data: dict[str, Any]) -> None:
    client.enqueue([Message(client.delivered_up_to, encode_reply(event, data))], client.delivered_up_to)
