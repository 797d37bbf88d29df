"""Leases under random schedules: at most one process feeds or runs a command, and another takes over after its end."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any
from unittest.mock import patch

import psycopg
from helpers.simulation.connection import Network, SimulatedConnection
from helpers.simulation.lease_table import Held, LeaseTable
from helpers.simulation.loop import run_schedules

from market_data.cli.data.lease import LEASE_SECONDS, Lease
from market_data.errors import CommandFailed
from market_data.feed.feeder import ACQUIRE_SECONDS, MAX_BACKOFF, Feeder
from market_data.settings import Settings

DELAY = 0.1
"""Maximum seconds that a message travels."""

ROUND_TRIP = 2 * DELAY
MAX_OUTAGE_SECONDS = 8


class Process:
    """A process with its own network; `excused_until` is the time until which its faults may have effects."""

    def __init__(self, random: Random, table: LeaseTable) -> None:
        self.network = Network(random, DELAY)
        self.table = table
        self.excused_until = -1.0
        self.holder = ""

    async def connect(self) -> SimulatedConnection:
        return await SimulatedConnection.open(self.network, self.table)

    def excuse(self, seconds: float) -> None:
        self.excused_until = max(self.excused_until, asyncio.get_running_loop().time() + seconds)

    async def suffer(self, effect_seconds: float) -> None:
        """Lose, stall or miss the network for a while."""
        network, seconds = self.network, self.network.random.uniform(0, MAX_OUTAGE_SECONDS)
        self.excuse(seconds + effect_seconds)
        match network.random.randrange(3):
            case 0:
                network.cut()
            case 1:
                network.stalled = True
            case _:
                network.reachable = False
                network.cut()
        await asyncio.sleep(seconds)
        network.stalled, network.reachable = False, True

    def kill(self, task: "asyncio.Task[Any]") -> None:
        """End the process without a word to the database."""
        self.network.reachable = False
        self.network.cut()
        task.cancel()


class Command(Process):
    """A command that holds a lease while it commits batches."""

    def __init__(self, random: Random, table: LeaseTable, commits: list[str]) -> None:
        super().__init__(random, table)
        self.commits = commits
        self.lease = Lease("backfill", "Another backfill runs.")
        self.holder = self.lease._holder
        self.holds = False
        self.healthy = True

    async def run(self) -> None:
        random = self.network.random
        async with await self.connect() as connection, self.lease.held(self.holder):
            self.holds = True
            for _ in range(random.randint(1, 15)):
                await asyncio.sleep(random.choice([0, random.uniform(0, 2 * LEASE_SECONDS)]))
                async with connection.transaction():
                    await asyncio.sleep(random.uniform(0, 1))
                    await self.lease.confirm(connection)  # type: ignore[arg-type] # simulates the used part
                self.commits.append(self.holder)
            self.holds = False


def test_commands_with_one_lease_never_commit_alternately():
    outcomes = set[str]()

    async def scenario(random: Random) -> None:
        loop = asyncio.get_running_loop()
        table = LeaseTable(loop.time)
        commits: list[str] = []
        commands: list[Command] = []

        def check_takeover(expired: Held) -> None:
            (before,) = [each for each in commands if each.holder == expired.holder]
            assert not before.healthy, "a running command lost its lease"

        table.on_takeover = check_takeover

        async def run(command: Command) -> None:
            await asyncio.sleep(random.uniform(0, 60))
            began = loop.time()
            task = asyncio.create_task(command.run())
            if random.random() < 0.5:
                await asyncio.sleep(random.uniform(0, 10))
                command.healthy = False
                if random.random() < 0.5:
                    command.kill(task)
                else:
                    await command.suffer(LEASE_SECONDS)
            outcome = await end_of(task)
            if outcome == "failed" and command.healthy:
                assert not command.holds, "lost the lease while it ran"
                assert loop.time() - began > LEASE_SECONDS, "gave up before the lease of a killed command could expire"
            if outcome == "ended" and command.healthy:
                assert table.held.get("backfill", Held("", 0)).holder != command.holder, "the lease was not released"
            command.healthy = False
            outcomes.add(outcome)

        commands += [Command(random, table, commits) for _ in range(6)]
        with patch("market_data.cli.data.lease.connect", connector(commands)):
            async with asyncio.timeout(1000):
                await asyncio.gather(*map(run, commands))
        blocks = [holder for number, holder in enumerate(commits) if holder not in commits[number - 1 : number]]
        assert len(blocks) == len(set(blocks)), f"commits alternate: {blocks}"

    run_schedules(scenario, 150)
    assert outcomes == {"ended", "failed", "killed", "lost"}


def connector(processes: Sequence[Process]) -> Callable[[str, float], Awaitable[SimulatedConnection]]:
    """Return the function that opens connections; the URL is the holder of the process."""
    return lambda url, _timeout: next(each for each in processes if each.holder == url).connect()


async def end_of(task: "asyncio.Task[Any]") -> str:
    try:
        await task
    except CommandFailed:
        return "failed"
    except psycopg.OperationalError:
        return "lost"
    except asyncio.CancelledError:
        return "killed"
    return "ended"


class FeedProcess(Process):
    """A service that feeds while it holds the lease."""

    def __init__(self, random: Random, table: LeaseTable, lease_seconds: float, interval: float) -> None:
        super().__init__(random, table)
        settings = Settings(feed_lease_seconds=lease_seconds, ingestion_interval_seconds=interval)
        self.feeder = Feeder("", settings)
        self.holder = self.feeder._database_url = self.feeder._holder
        self.running = True
        self.refused = False
        """True from a refusal until it acquires the lease again."""
        self.task = asyncio.create_task(self.feeder.run())

    async def stop(self) -> None:
        self.running = False
        self.feeder.stop()
        await self.task

    def end(self) -> None:
        self.running = False
        self.excuse(1e9)
        self.kill(self.task)


class FeedGroup:
    """Services on one database. Checks that exactly one of them stores the trades of the feed."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.loop = asyncio.get_running_loop()
        self.clock_offset = 0.0
        self.lease_seconds = random.choice([1.0, 5.0, 30.0])
        self.interval = random.choice([0.2, 1.0, 3.0])
        self.table = LeaseTable(lambda: self.loop.time() + self.clock_offset)
        self.table.on_takeover, self.table.on_acquire, self.table.on_store = self._takeover, self._acquire, self._store
        self.processes: list[FeedProcess] = []
        self.stored_at = 0.0
        self.excused_until = self.lease_seconds
        self.takeovers = 0
        self.violations: list[str] = []
        """Not raised at once, because a feed logs its errors and continues."""

    def add(self) -> None:
        self.processes.append(FeedProcess(self.random, self.table, self.lease_seconds, self.interval))

    def _by_holder(self, holder: str) -> FeedProcess:
        return next(each for each in self.processes if each.holder == holder)

    def _takeover(self, expired: Held) -> None:
        self.takeovers += 1
        if self._by_holder(expired.holder).excused_until < self.loop.time():
            self.violations.append("a running feed lost its lease")

    def _acquire(self, holder: str, acquired: bool) -> None:
        self._by_holder(holder).refused = not acquired

    def _store(self, holder: str, stored: bool) -> None:
        process = self._by_holder(holder)
        if not stored:
            if process.refused:
                self.violations.append("a feed without the lease stores on")
            process.refused = True
            return
        now = self.loop.time()
        self.check_gap(now)
        self.stored_at = now

    def check_gap(self, now: float) -> None:
        """Note if the feed has paused for longer than a takeover lasts, apart from faults."""
        limit = self.interval + ACQUIRE_SECONDS + 4 * ROUND_TRIP
        if now - max(self.stored_at, self.excused_until) > limit:
            self.violations.append("no process feeds")

    def excuse(self, seconds: float) -> None:
        self.excused_until = max(self.excused_until, self.loop.time() + seconds)

    async def disturb(self) -> None:
        """Inject one fault: each is over for all processes after the time by which it excuses them."""
        running = [each for each in self.processes if each.running]
        victim = self.random.choice(running)
        match self.random.randrange(5):
            case 0 if len(running) > 1:
                await victim.stop()
            case 1 if len(running) > 1:
                self.excuse(self.lease_seconds)
                victim.end()
            case 2:
                effect_seconds = self.lease_seconds + MAX_BACKOFF + 2
                self.excuse(MAX_OUTAGE_SECONDS + effect_seconds)
                await victim.suffer(effect_seconds)
            case 3:
                self.clock_offset += self.random.choice([-3600, -7, 7, 3600])
                for each in running:
                    each.excuse(self.lease_seconds)
                self.excuse(self.lease_seconds + 7)
            case _:
                self.add()


def test_one_process_feeds_and_another_takes_over():
    takeovers = 0

    async def scenario(random: Random) -> None:
        nonlocal takeovers
        group = FeedGroup(random)
        with patch("market_data.feed.feeder.connect", connector(group.processes)):
            for _ in range(3):
                group.add()
            for _ in range(12):
                await asyncio.sleep(random.uniform(0, 10))
                await group.disturb()
                assert group.violations == []
            await asyncio.sleep(max(0, group.excused_until - group.loop.time()) + 10)
            group.check_gap(group.loop.time())
            for process in group.processes:
                if process.running:
                    await process.stop()
        assert group.violations == []
        assert group.table.held == {}, "the lease was not released"
        takeovers += group.takeovers

    run_schedules(scenario, 100)
    assert takeovers
