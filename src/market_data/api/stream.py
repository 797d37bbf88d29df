"""The streams: server-sent events at `/stream`, and the same as WebSocket messages at `/ws`.

Not the framework's server-sent events, which encode each event anew for each client: here it is written once for all.
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
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.response.base import ASGIResponse
from msgspec import Meta, Struct

from market_data.api.http.caching import LIVE
from market_data.api.http.openapi import PROBLEMS, operation, require_symbols
from market_data.api.http.parameters import CHANNELS, LAST_EVENT_ID, LAST_EVENT_ID_HEADER, SYMBOLS, Query
from market_data.api.http.readers import read_channels, read_symbols
from market_data.api.http.streaming_response import Stream
from market_data.auth.api_keys import ApiKey
from market_data.errors import BadParameters, DatabaseUnavailable, MarketDataError
from market_data.services import services_of
from market_data.streaming.clients import Client
from market_data.streaming.events import EventId, Message
from market_data.streaming.hub import Hub
from market_data.streaming.subscriptions import Subscription

logger = logging.getLogger(__name__)

DESCRIPTION = """
Server-sent events, from now on or from where `Last-Event-ID` left off. Each has an `id`, an `event` and its `data` as JSON:

* `trade`: a trade that was stored, by whomever, with the fields of `/trades`. Backfills and imports are not told of.
* `candle`: with the fields of `/candles`, its `symbol` and `interval`. After each commit with trades of an open bucket; once
  more with `closed: true`, a second or two after the end of the bucket; and with `revised: true` whenever a late, changed or
  deleted trade has changed a closed one; where both come together, only the latter.
* `heartbeat`: at once, and every ten seconds while the service follows the database. After 25 seconds without, reconnect.
* `gap`: the events after `Last-Event-ID` are not there any more, for they are kept for an hour. Read `/trades` and
  `/candles` for the time since; the stream goes on from now.
* `bye`: why the service ends the stream: the client reads too slowly, the service stops, the database was
  replaced, the client's key was revoked or has expired.

Ids follow the order of commits and are the same at all replicas. Who reconnects with the last id it has got (a browser's
`EventSource` does so by itself) misses nothing and gets nothing twice; where several changes of a candle were missed, it
gets the newest one.

The same as WebSocket messages is at `/ws`, with the same parameters and, while connected, `{"action": "subscribe",
"symbols": ["AAPL"], "channels": ["trades", "candles_1m"]}` and `unsubscribe` likewise; each event is a message `{"event": …,
"id": …, "data": …}`. Without parameters nothing is subscribed at first.

    curl -N 'http://127.0.0.1:8000/stream?symbols=AAPL&channels=trades,candles_1m'
"""

EXAMPLE = """id: 412-1-0
event: trade
data: {"symbol":"AAPL","price":189.44,"volume":3,"timestamp":"2026-02-08T10:30:00.123456Z","trade_id":0}

"""

HEADERS = {**LIVE, "X-Accel-Buffering": "no"}  # which keeps nginx from holding events back

TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008
"""Codes with which a WebSocket is closed (RFC 6455 and IANA's registry)."""


@get(
    "/stream",
    summary="Live trades and candles",
    description=DESCRIPTION.strip(),
    tags=["Live"],
    operation_class=operation(SYMBOLS, CHANNELS, LAST_EVENT_ID, LAST_EVENT_ID_HEADER),
    responses={
        200: ResponseSpec(
            str,
            generate_examples=False,
            description="Events, for as long as the client listens.",
            media_type="text/event-stream",
            examples=[Example(value=EXAMPLE)],
        ),
        **{status: PROBLEMS[status] for status in (400, 404, 500, 503)},
    },
)
async def stream(request: Request[Any, Any, Any]) -> ASGIResponse:
    subscription, after = await _asked(request)
    client = Client("sse", subscription, _key_id(request))
    pieces = _joined(_hub(request).messages(client, after))
    return Stream(pieces, media_type="text/event-stream", headers=HEADERS, on_gone=client.close)


async def _joined(messages: AsyncGenerator[list[Message]]) -> AsyncGenerator[bytes]:
    async with aclosing(messages):
        async for some in messages:
            yield b"".join(each.text for each in some)


async def _asked(request: ASGIConnection[Any, Any, Any, Any]) -> tuple[Subscription, EventId | None]:
    """What a request wants to listen to, and from where on."""
    with Query(request) as query:
        symbols, channels = query.take(SYMBOLS), query.take(CHANNELS)
        after = query.take(LAST_EVENT_ID)
        after = query.take(LAST_EVENT_ID_HEADER) or after
    await _hub(request).wait_until_ready()
    if symbols is not None:
        await require_symbols(request, symbols)
    return Subscription.to(channels, None if symbols is None else frozenset(symbols)), after


def _key_id(request: ASGIConnection[Any, Any, Any, Any]) -> int | None:
    """The id of the key that a request was let in by."""
    key: ApiKey | None = request.scope["state"]["key"]
    return key.id if key else None


def _hub(request: ASGIConnection[Any, Any, Any, Any]) -> Hub:
    return services_of(request).hub


MOST_SAID = 300
"""Characters of what is wrong with a message: the decoder repeats its words, however long they are."""


class Command(Struct, forbid_unknown_fields=True):
    """What a client of the WebSocket may send."""

    action: Literal["subscribe", "unsubscribe"]
    symbols: Annotated[list[str], Meta(min_length=1)] | None = None
    """None for all."""
    channels: Annotated[list[str], Meta(min_length=1)] = msgspec.field(default_factory=lambda: ["trades"])


read_command = msgspec.json.Decoder(Command).decode


@websocket("/ws")
async def messages(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    try:
        subscription, after = await _asked(socket)
    except MarketDataError as error:
        await socket.send_text(_answer("error", {"detail": str(error)}))
        await socket.close(POLICY_VIOLATION if isinstance(error, BadParameters) else TRY_AGAIN_LATER)
        return
    client = Client("websocket", subscription if socket.scope["query_string"] else Subscription(), _key_id(socket))
    sending = asyncio.create_task(_send(socket, client, after))
    try:
        while True:
            await _obey(socket, client, await socket.receive_text())
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
    """Send a client its messages, and close when there are to be no more."""
    try:
        async with aclosing(_hub(socket).messages(client, after)) as pieces:
            async for some in pieces:
                for each in some:
                    await socket.send_text(each.text)
    except DatabaseUnavailable as error:
        logger.warning("a stream is broken off: %s", error)
    except OSError:
        return  # the client is gone
    except Exception:
        logger.exception("a stream is broken off")
    with suppress(OSError, RuntimeError):  # the client may be gone
        await socket.close(POLICY_VIOLATION if client.key_ended else TRY_AGAIN_LATER)


async def _obey(socket: WebSocket[Any, Any, Any], client: Client, text: str) -> None:
    """Carry out a command, and tell the client of what it is subscribed to now, or of what is wrong."""
    try:
        command = read_command(text)
        symbols = None if command.symbols is None else frozenset(read_symbols(",".join(command.symbols)))
        asked = Subscription.to(read_channels(",".join(command.channels)), symbols)
        if symbols and command.action == "subscribe":
            await require_symbols(socket, sorted(symbols))
        wanted = client.subscription | asked if command.action == "subscribe" else client.subscription - asked
    except msgspec.DecodeError as error:
        _give(client, "error", {"detail": f"message: {error}"[:MOST_SAID]})
    except (MarketDataError, ValueError) as error:
        _give(client, "error", {"detail": str(error)})
    else:
        _hub(socket).subscribe(client, wanted)
        channels = {channel: "all" if some is None else sorted(some) for channel, some in sorted(wanted.items)}
        _give(client, "subscribed", {"channels": channels})


def _give(client: Client, event: str, data: dict[str, Any]) -> None:
    client.enqueue([Message(client.delivered_up_to, _answer(event, data))], client.delivered_up_to)


def _answer(event: str, data: dict[str, Any]) -> bytes:
    """To a command: it stands outside of the order of events, so it has no id to go on from."""
    return msgspec.json.encode({"event": event, "data": data})
