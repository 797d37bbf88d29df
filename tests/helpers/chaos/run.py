"""One run: writers, stream clients and faults at random for some time, then recovery and comparison."""

import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

import httpx
import psycopg
from helpers.api_keys import store_key
from helpers.chaos.comparison import ACTOR, Comparison
from helpers.chaos.faults import FAULTS, Fault, set_clock
from helpers.chaos.http_writer import HttpWriter
from helpers.chaos.model import SYMBOLS, StepLog, merged
from helpers.chaos.sql_writer import SqlWriter
from helpers.chaos.stage import Stage, connect, new_stage
from helpers.chaos.writers import Retention, Writer
from helpers.follower import Follower
from helpers.service import eventually
from helpers.support import Databases

READY_SECONDS = 60.0
"""Time after the last fault until the service is ready."""

SHOWN = 20
"""Steps and differences of a report."""

MAX_LINE = 300
"""Characters of each of them."""

RETENTIONS = (timedelta(days=40), timedelta(days=25))
"""Retention of trades, set at random times in this order."""


@dataclass
class Run:
    """A run and its results. A seed repeats its choices; their interleaving depends on the machine."""

    seed: int
    seconds: float
    settle_seconds: float
    """Time after the service is ready until everything must agree."""
    log: StepLog = field(default_factory=StepLog)
    injected: Counter[str] = field(default_factory=Counter[str])
    differences: list[str] = field(default_factory=list[str])
    summary: str = ""
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="market-data-chaos-")))

    def execute(self, databases: Databases | None = None, home: Path | None = None) -> bool:
        """Return True if nothing differs; otherwise the folder with the logs of all processes is kept."""
        self.folder.chmod(0o711)  # the server runs as another user
        self._random = Random(self.seed)
        with new_stage(self.folder, databases, home, self._random) as stage:
            self.log("stage", stage.name)
            self._execute_on(stage)
            if "Traceback" in stage.environment.logs:
                self.differences.append(f"the log of the service has a traceback, see {self.folder}")
            self.summary += f" on {stage.name}"
        (self.folder / "steps.log").write_text("\n".join(self.log.lines))
        if not self.differences:
            shutil.rmtree(self.folder, ignore_errors=True)
        return not self.differences

    def report(self) -> str:
        """Return seed, results, the last steps and the first differences of a run that failed."""
        lines = [*self.log.lines[-SHOWN:], *self.differences[:SHOWN]]
        shown = "\n".join(f"    {line[:MAX_LINE]}" for line in lines)
        return (
            f"seed {self.seed} failed; {self.summary}\n{shown}\n"
            f"    {len(self.differences):,} differences in all; all steps and logs are in {self.folder}"
        )

    def _execute_on(self, stage: Stage) -> None:
        key = _prepare_database(stage)
        stopping, retention = threading.Event(), Retention()
        given = self.seed, retention, self.log, stopping
        writers: list[Writer] = [
            *(HttpWriter(number, *given, address=stage.environment.address, key=key) for number in (1, 2)),
            *(SqlWriter(number, *given, url=lambda: stage.url) for number in (3, 4)),
        ]
        address = lambda: stage.environment.address  # noqa: E731
        followers = {
            "SSE": Follower(address),
            "SSE with drops": Follower(address, drops=Random(self.seed)),
            "WebSocket": Follower(address, "websocket"),
        }
        try:
            with _running(writers, stopping):
                self._disturb(stage, retention, writers)
                self.log("run", "faults end")
                _end_faults(stage)
            for follower in followers.values():
                follower._drops = None  # a client that leaves after ten events would not catch up
            self.differences += [f"{each.name}: {each.failure}" for each in writers if each.failure]
            if not self.differences:
                self._compare(stage, writers, followers)
        finally:
            for follower in followers.values():
                follower.end()

    def _disturb(self, stage: Stage, retention: Retention, writers: list[Writer]) -> None:
        """Inject faults until the time is over or a writer fails."""
        random, deadline = self._random, time.monotonic() + self.seconds
        possible = [each for each in FAULTS if each.possible(stage)]
        retentions = list(RETENTIONS)
        while time.monotonic() < deadline and not self.differences and not any(each.failure for each in writers):
            time.sleep(random.uniform(0.2, 4))
            if retentions and random.random() < 0.1:
                self._set_retention(stage, retention, retentions.pop(0))
            first = random.choice(possible)
            chosen = [first]
            if random.random() < 0.3:
                others = [each for each in possible if each != first and not (each.of_service and first.of_service)]
                chosen.append(random.choice(others))
            threads = [threading.Thread(target=self._inject, args=(stage, each, random.random())) for each in chosen]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _inject(self, stage: Stage, fault: Fault, seed: float) -> None:
        self.log("fault", f"{fault.name} begins")
        self.injected[fault.name] += 1
        try:
            fault.inject(stage, Random(seed))
        except BaseException as error:
            self.differences.append(f"{fault.name}: {type(error).__name__} {error}")
        self.log("fault", f"{fault.name} ends")

    def _set_retention(self, stage: Stage, retention: Retention, keep: timedelta) -> None:
        with retention.paused_writers():
            self._eventually_execute(stage, f"CALL set_retention('{keep.days} days')")
            retention.keep = keep
        self.log("run", f"retention is {keep.days} days")

    def _eventually_execute(self, stage: Stage, statement: str) -> None:
        def executed() -> bool:
            with suppress(psycopg.OperationalError, OSError, ValueError), connect(stage) as connection:
                connection.execute(statement.encode())
                return True
            return False

        eventually(executed, READY_SECONDS)

    def _compare(self, stage: Stage, writers: list[Writer], followers: dict[str, Follower]) -> None:
        """Wait until the service is ready and nothing differs; otherwise note the differences."""
        began = time.monotonic()
        try:
            eventually(lambda: _is_ready(stage), READY_SECONDS)
        except AssertionError:
            self.differences.append(f"the service is not ready {READY_SECONDS:g} s after the last fault")
            return
        self._eventually_execute(stage, f"UPDATE symbols SET active = false WHERE symbol <> ALL ('{{{','.join(SYMBOLS)}}}')")
        ready, model = time.monotonic(), merged(each.model for each in writers)
        comparison = Comparison(stage, model, followers)
        self._settle(comparison.database)
        self._settle(comparison.api)
        self._wait_for_copies(followers, comparison.version)
        self._settle(comparison.copies)
        repeated = sum((each.repeated for each in writers), Counter[str]())
        self.summary = (
            f"{sum(each.acknowledged for each in writers):,} writes acknowledged, the slowest after "
            f"{max(each.slowest for each in writers):.1f} s, {repeated.total():,} repeated; {len(model.trades):,} trades, "
            f"{len(model.cancelled):,} cancelled; {sum(self.injected.values())} faults; ready after {ready - began:.1f} s, "
            f"settled after {time.monotonic() - ready:.1f} s"
        )

    def _wait_for_copies(self, followers: dict[str, Follower], version: int) -> None:
        """Wait until all copies have a version: as long as they make progress, because a loaded machine reads slowly."""
        positions: dict[str, tuple[int, ...]] = {}
        moved = time.monotonic()
        while behind := {name: each.position for name, each in followers.items() if each.position < (version,)}:
            if positions != behind:
                positions, moved = behind, time.monotonic()
            elif time.monotonic() > moved + self.settle_seconds:
                self.differences += [
                    f"copy over {name} stays at {at}, before version {version}" for name, at in behind.items()
                ]
                return
            time.sleep(0.2)
        self.log("run", f"copies have version {version}")

    def _settle(self, compare: Callable[[], list[str]]) -> None:
        """Compare until nothing differs or the time is over; the differences are then results."""
        began, found, before = time.monotonic(), [""], ""
        while found and time.monotonic() < began + self.settle_seconds:
            time.sleep(0.5)
            try:
                found = compare()
            except (httpx.HTTPError, psycopg.Error) as error:
                found = [f"the comparison failed: {error!r}"]
            step = f"{len(found)} differences, the first: {found[0]}" if found else "nothing differs"
            if step != before:
                self.log("run", f"{compare.__name__}: {step}")
            before = step
        self.differences += found


def _prepare_database(stage: Stage) -> str:
    """Store the symbols and the API key of the writers, and return the key."""
    with connect(stage) as connection:
        connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", ([*SYMBOLS],))
    return store_key(stage.url, "write", name=ACTOR)


@contextmanager
def _running(writers: list[Writer], stopping: threading.Event) -> Iterator[None]:
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        stopping.set()
        for writer in writers:
            writer.join()


def _end_faults(stage: Stage) -> None:
    for proxy in stage.proxies:
        proxy.restore()
    if stage.signal_pooler:
        stage.signal_pooler(signal.SIGCONT)
        stage.signal_pooler(signal.SIGUSR2)
    if stage.clock:
        set_clock(stage, "+0")


def _is_ready(stage: Stage) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{stage.environment.address}/health/ready", timeout=5).status_code == 200
    return False
