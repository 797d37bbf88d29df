"""Plays the moments of a source at a speed, and executes the commands of the client."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime, timedelta
from math import isinf
from typing import Any

from market_data.errors import Gone
from market_data.streaming.clients import Client
from market_data.streaming.events import Message, encode, first_heartbeat, heartbeat
from market_data.streaming.playback.moments import Moment, Position, Source
from market_data.streaming.subscriptions import Subscription
from market_data.trade_validation import rfc3339

CLOCK_SECONDS = 1.0
"""Real seconds between two `clock` events."""

HEARTBEAT_SECONDS = 10.0

BATCH_BYTES = 65_536
"""Approximate size of a batch at maximum speed: fewer, larger batches are sent faster, and hold up other requests longer."""

Open = Callable[[Position], Awaitable[Source]]
"""Opens the source of a client at a position."""


class Player:
    """The replay of one client."""

    def __init__(
        self, client: Client, start: datetime, end: datetime, speed: float, open_source: Open, *, has_revisions: bool = True
    ) -> None:
        """`speed` is virtual seconds per second, or infinite. `has_revisions` is False if the source has none."""
        self.client = client
        self.has_revisions = has_revisions
        self._start = start
        self._end = end
        self._speed = speed
        self._open = open_source
        self._paused = False
        self._steps = 0
        self._anchor = start
        """Virtual time at `_anchored_at`."""
        self._anchored_at = 0.0
        self._begun = False
        """False while the virtual clock stands, because the first message is yet to be sent; commands may arrive before."""
        self._position: Position = start
        self._reopen = True
        self._next_heartbeat = self._next_clock = 0.0

    @property
    def now(self) -> datetime:
        """Virtual time."""
        if self._paused or isinf(self._speed) or not self._begun:
            return self._anchor
        passed = (asyncio.get_running_loop().time() - self._anchored_at) * self._speed
        left = (self._end - self._anchor).total_seconds()
        return self._end if passed >= left else self._anchor + timedelta(seconds=passed)

    def _set_now(self, time: datetime) -> None:
        self._anchor, self._anchored_at = time, asyncio.get_running_loop().time()

    def pause(self) -> None:
        """Stop the virtual clock."""
        self._set_now(self.now)
        self._paused, self._steps = True, 0
        self._reply()

    def resume(self) -> None:
        """Let the virtual clock go on."""
        self._set_now(self.now)
        self._paused, self._steps = False, 0
        self._reply()

    def step(self) -> None:
        """Play the next moment, and pause."""
        self._set_now(self.now)
        self._paused = True
        self._steps += 1
        self._reply()

    def set_speed(self, speed: float) -> None:
        """Change the speed."""
        self._set_now(self.now)
        self._speed = speed
        self._reply()

    def seek(self, time: datetime) -> None:
        """Continue at a time within the replay.

        Raises:
            ValueError: It is not.
        """
        if not self._start <= time < self._end:
            raise ValueError(f"must be within the replay, from {rfc3339(self._start)} to before {rfc3339(self._end)}")
        self._position, self._reopen = time, True
        self._set_now(time)
        self._reply()

    def subscribe(self, client: Client, subscription: Subscription) -> None:
        """Replace the subscription of the client from the next moment on."""
        client.subscription = subscription
        self._reopen = True

    def _reply(self) -> None:
        self.client.enqueue([self._clock()], self.client.delivered_up_to)

    def _clock(self) -> Message:
        speed = "max" if isinf(self._speed) else self._speed
        state: dict[str, Any] = {"timestamp": self.now, "speed": speed, "paused": self._paused}
        return encode(self.client.transport, "clock", self.client.delivered_up_to, state)

    async def messages(self) -> AsyncGenerator[list[Message]]:
        """Yield the messages until the end of the replay, or until the client is closed."""
        client = self.client
        self._begun = True
        self._set_now(self._anchor)
        self._next_heartbeat = asyncio.get_running_loop().time() + HEARTBEAT_SECONDS
        yield [first_heartbeat(client.transport, client.delivered_up_to, self.now), self._clock()]
        try:
            while self._reopen and not client.closed:
                self._reopen = False
                source = await self._open(self._position)
                async with aclosing(source.moments()) as moments, aclosing(self._play(moments)) as played:
                    async for batch in played:
                        yield batch
        except Gone as error:
            client.end(str(error))
        if not client.closed:
            self._set_now(self._end)
            client.finished = True
            end = encode(client.transport, "end", client.delivered_up_to, {"timestamp": self._end})
            yield [self._clock(), end]
        elif await client.wait(0):
            while batch := await client.next_batch():
                yield batch

    async def _play(self, moments: AsyncGenerator[Moment]) -> AsyncGenerator[list[Message]]:
        """Yield the messages of moments when their time has come, until a command asks for other ones."""
        loop = asyncio.get_running_loop()
        batch, size, is_whole = list[Message](), 0, True
        async for moment in moments:
            if batch and (size > BATCH_BYTES or self._is_interrupted or not self._is_due(moment)):
                yield batch
                batch, size = [], 0
                await asyncio.sleep(0)
            if self._is_interrupted or not self._is_due(moment):
                async for messages in self._wait_for(moment):
                    yield messages
            elif loop.time() >= self._next_clock:  # events may be rare, and the next pages take long to read
                yield batch + self._beats()
                batch, size = [], 0
            if self.client.closed or (self._reopen and is_whole):
                return
            batch += moment.messages
            size += sum([len(message.text) for message in moment.messages])
            is_whole = moment.is_whole
            self._note_played(moment)
        if batch:
            yield batch
        async for messages in self._wait_for(None):
            yield messages

    @property
    def _is_interrupted(self) -> bool:
        """True if replies are pending, or another part of the past is to be played."""
        return self._reopen or not self.client.idle or self.client.closed

    def _is_due(self, moment: Moment | None) -> bool:
        if self._paused:
            return bool(self._steps and moment)
        if isinf(self._speed):
            return True
        return self.now >= (moment.time if moment else self._end)

    def _note_played(self, moment: Moment) -> None:
        self.client.start_at(moment.id)
        if moment.is_whole:
            self._position = moment.resume
            self._steps = max(0, self._steps - bool(moment.messages))
        if self._paused or isinf(self._speed):
            self._set_now(max(self._anchor, moment.time))
        if self._paused and moment.is_whole and moment.messages:
            self._reply()

    async def _wait_for(self, moment: Moment | None) -> AsyncGenerator[list[Message]]:
        """Yield clocks, heartbeats and replies until a moment is due; None is the end of the replay."""
        client = self.client
        while not client.closed:
            if not client.idle:
                yield await client.next_batch()
            if self._reopen or self._is_due(moment):
                return
            seconds = CLOCK_SECONDS
            if not self._paused:
                seconds = min(seconds, ((moment.time if moment else self._end) - self.now).total_seconds() / self._speed)
            await client.wait(max(seconds, 0.001))
            if beats := self._beats():
                yield beats

    def _beats(self) -> list[Message]:
        """Return the clock and the heartbeat that are due."""
        now, due = asyncio.get_running_loop().time(), list[Message]()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_SECONDS
            due.append(heartbeat(self.client.transport, self.client.delivered_up_to, self.now))
        if now >= self._next_clock:
            self._next_clock = now + CLOCK_SECONDS
            due += [] if self._paused else [self._clock()]
        return due
