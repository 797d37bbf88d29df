"""The virtual clock of a replay."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from market_data.streaming.clients import Client
from market_data.streaming.playback.moments import Position, Source
from market_data.streaming.playback.player import Player
from market_data.streaming.subscriptions import Subscription

START = datetime(2026, 2, 8, 10, 30, tzinfo=UTC)
LATER = START + timedelta(hours=5)


async def no_source(_: Position) -> Source:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("commands", "time"),
    [
        ([Player.pause], START),
        ([Player.step], START),
        ([lambda player: player.seek(LATER), Player.pause], LATER),
        ([Player.pause, lambda player: player.seek(LATER)], LATER),
    ],
)
def test_commands_that_arrive_before_the_replay_begins_do_not_move_the_clock(
    commands: list[Callable[[Player], None]], time: datetime
):
    async def run() -> None:
        client = Client("websocket", Subscription())
        player = Player(client, START, START + timedelta(days=1), 1e9, no_source)
        for command in commands:
            command(player)
        messages = player.messages()
        first = await anext(messages)
        await messages.aclose()
        (*_, reply) = await client.next_batch()
        for message in (*first, reply):
            assert f'"timestamp":"{time:%Y-%m-%dT%H:%M:%SZ}"' in message.text.decode()

    asyncio.run(run())
