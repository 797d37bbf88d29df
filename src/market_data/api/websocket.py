"""The events of `/stream` as WebSocket messages at `/ws`, and the commands of its clients."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any

from litestar import WebSocket, get, websocket
from litestar.exceptions import HTTPException, WebSocketDisconnect
from msgspec.structs import replace

from market_data.api.http.naming import resolve, resolve_all
from market_data.api.http.problems import POLICY_VIOLATION
from market_data.api.http.query_string import read_parameters
from market_data.api.http.websocket_messages import BEARER, TRY_AGAIN_LATER, close_with_error, encode_reply
from market_data.api.replay import NO_RESUME, check_replayed, execute_on_replay, prepare_replay, read_replay
from market_data.api.stream import check_session, hub_of, key_id_of, require_streamed_symbols, stream, subscription_of
from market_data.api.stream_commands import Command, read_command
from market_data.auth.api_keys import KEY_NEEDED, require_scope
from market_data.errors import BadParameters, DatabaseUnavailable, MarketDataError, TooManyRequests, Unauthorized
from market_data.models import ParameterProblem
from market_data.queries.candles import SessionKind
from market_data.services import services_of
from market_data.streaming.clients import Client
from market_data.streaming.events import Message
from market_data.streaming.playback.player import Player
from market_data.streaming.subscriptions import Subscription
from market_data.tasks import cancel_and_wait

logger = logging.getLogger(__name__)

AUTHENTICATION_SECONDS = 10.0
"""Time for the first message of a client that has not sent its key yet."""

KEY_IN_MESSAGE = """A client that can't send headers sends {"action": "authenticate", "key": "md_…"} as its first message."""

NO_REPLAY = "needs a replay; connect to /ws?from=… for one"

NORMAL_CLOSURE = 1000
"""Close code after the end of a replay."""

MAX_ERROR_LENGTH = 300
"""Characters of an error about a message, which may repeat parts of it."""


@websocket("/ws", opt={"authenticates": True})
async def messages(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept(BEARER if BEARER in socket.scope["subprotocols"] else None)
    try:
        await _require_key(socket)
        given = read_parameters(socket, stream)
        last_event_ids = {"Last-Event-ID": given["last_event_id_header"], "last_event_id": given["last_event_id"]}
        replay = read_replay(given["from_"], given["to"], given["speed"], given["order"], last_event_ids)
        session: SessionKind = given["session"] or "all"
        check_session(session, given["from_"], given["channels"])
        resolved = await resolve_all(socket, given["symbols"])
        subscription = await subscription_of(socket, resolved and resolved.keys, given["channels"], session)
        wanted = subscription if socket.query_params.keys() - {"session"} else Subscription()
        client = Client("websocket", wanted, key_id_of(socket), session)
        player = await prepare_replay(socket, client, replay)
    except MarketDataError as error:
        with suppress(OSError, RuntimeError):  # the client may have disconnected
            await close_with_error(socket.send, error)
        return
    except (WebSocketDisconnect, OSError):
        return
    if player:
        messages = services_of(socket).replays.messages(player)
    else:
        messages = hub_of(socket).messages(client, given["last_event_id_header"] or given["last_event_id"])
    sending = asyncio.create_task(_send(socket, client, messages))
    try:
        while True:
            await _execute(socket, client, player)
    except WebSocketDisconnect:
        client.close()
    finally:
        await cancel_and_wait(sending)
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


async def _send(socket: WebSocket[Any, Any, Any], client: Client, messages: AsyncGenerator[list[Message]]) -> None:
    """Send a client its messages, and close the WebSocket after the last."""
    try:
        async with aclosing(messages):
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
        if client.finished:
            await socket.close(NORMAL_CLOSURE)
        else:
            await socket.close(TRY_AGAIN_LATER if client.reconnectable else POLICY_VIOLATION)


async def _execute(socket: WebSocket[Any, Any, Any], client: Client, player: Player | None) -> None:
    """Execute the next command, and send the client its new subscription, or the error.

    Raises:
        WebSocketDisconnect: The client has disconnected.
    """
    try:
        command = read_command(await _receive_text(socket))
        match command.action:
            case "authenticate":
                _enqueue(client, "authenticated", await _authenticate(socket, command.key))
                client.key_id = key_id_of(socket)
            case "subscribe":
                check_session(client.session, None, command.channels)
                command = await _by_key(socket, client, command)
                if command.symbols:
                    await require_streamed_symbols(socket, sorted(command.symbols))
                await _subscribe(socket, client, command, player)
            case "unsubscribe":
                wanted = client.subscription - (await _by_key(socket, client, command)).subscription
                (player or hub_of(socket)).subscribe(client, wanted)
                _enqueue_subscription(socket, client, wanted)
            case _:
                if player is None:
                    raise BadParameters([ParameterProblem("action", f"{command.action} {NO_REPLAY}")])
                execute_on_replay(player, command)
    except (MarketDataError, ValueError) as error:
        _enqueue(client, "error", {"detail": str(error)[:MAX_ERROR_LENGTH]})
        if isinstance(error, Unauthorized):  # a second attempt needs a new handshake
            client.close(reconnectable=False)
        elif isinstance(error, TooManyRequests):
            client.close()


async def _by_key(socket: WebSocket[Any, Any, Any], client: Client, command: Command) -> Command:
    """Return a command with the keys of its symbols, and the sessions of its client."""
    symbols = command.symbols and frozenset((await resolve(socket, command.symbols)).keys)
    return replace(command, symbols=symbols, session=client.session)


async def _subscribe(socket: WebSocket[Any, Any, Any], client: Client, command: Command, player: Player | None) -> None:
    wanted = client.subscription | command.subscription
    if player and command.last_event_id:
        raise BadParameters([ParameterProblem("last_event_id", NO_RESUME)])
    if player:
        check_replayed(player, wanted)
    if player or command.last_event_id is None:
        (player or hub_of(socket)).subscribe(client, wanted)
        _enqueue_subscription(socket, client, wanted)
        return
    _enqueue_subscription(socket, client, wanted)
    try:
        await hub_of(socket).resume(client, command.subscription, command.last_event_id)
    except DatabaseUnavailable as error:
        logger.warning("stream aborted: %s", error)
        client.close()


def _enqueue_subscription(socket: WebSocket[Any, Any, Any], client: Client, subscription: Subscription) -> None:
    names = services_of(socket).names
    channels = {
        channel: "all" if some is None else sorted(map(names.name_of, some))
        for channel, some in sorted(subscription.within(client.session).items)
    }
    session = {} if client.session == "all" else {"session": client.session}
    _enqueue(client, "subscribed", {"channels": channels, **session})


def _enqueue(client: Client, event: str, data: dict[str, Any]) -> None:
    client.enqueue([Message(client.delivered_up_to, encode_reply(event, data))], client.delivered_up_to)
