"""`/tardis/ws-replay-normalized`: the replay of `/stream?from=…&order=time` as fast as possible, in tardis' messages."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final

from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect

from market_data.api.compat.tardis.options import ReplayOptions, messages_of, read_options
from market_data.api.http.problems import send_problem
from market_data.api.http.websocket_messages import TRY_AGAIN_LATER
from market_data.api.stream import hub_of, key_id_of, require_streamed_symbols
from market_data.errors import DatabaseUnavailable, MarketDataError
from market_data.services import services_of
from market_data.streaming.clients import Client
from market_data.streaming.events import Message
from market_data.streaming.playback.player import Player
from market_data.streaming.playback.replays import ReplayRequest
from market_data.tasks import cancel_and_wait

logger = logging.getLogger(__name__)

NORMAL_CLOSURE: Final = 1000


@websocket("/tardis/ws-replay-normalized")
async def tardis_replay(socket: WebSocket[Any, Any, Any]) -> None:
    try:
        options = read_options(socket.scope["query_string"])
        await hub_of(socket).wait_until_ready()
        names = services_of(socket).names
        subscription = options.subscription.renamed(names.key_of)
        await require_streamed_symbols(socket, sorted(subscription.symbols or ()))
        options = options.renamed(lambda name: names.name_of(names.key_of(name)))
        client = Client("websocket", subscription, key_id_of(socket))
        request = ReplayRequest(options.start, options.end, float("inf"), "time")
        player = await services_of(socket).replays.prepare(client, request)
    except MarketDataError as error:
        await send_problem(socket.scope, socket.send, error)
        return
    await socket.accept()
    sending = asyncio.create_task(_send(socket, player, options))
    try:
        while True:
            await socket.receive_data(mode="text")  # the protocol has no commands
    except (WebSocketDisconnect, OSError):
        client.close()
    finally:
        await cancel_and_wait(sending)


async def _send(socket: WebSocket[Any, Any, Any], player: Player, options: ReplayOptions) -> None:
    """Send the messages of a replay, and close the connection after the last."""
    messages: AsyncGenerator[list[Message]] = services_of(socket).replays.messages(player)
    try:
        async with aclosing(messages):
            async for batch in messages:
                for message in batch:
                    for text in messages_of(message.text, options.wanted):
                        await socket.send_text(text)
    except DatabaseUnavailable as error:
        logger.warning("replay aborted: %s", error)
    except (OSError, RuntimeError):
        return  # the client has disconnected
    except Exception:
        logger.exception("replay aborted")
    with suppress(OSError, RuntimeError):  # the client may have disconnected
        await socket.close(NORMAL_CLOSURE if player.client.finished else TRY_AGAIN_LATER)
