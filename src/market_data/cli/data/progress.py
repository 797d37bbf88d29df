"""Progress of a command: a bar on a terminal, else a line every ten seconds."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from market_data.cli.console import progress

LINE_SECONDS = 10
"""Seconds between two lines of progress if standard error is not a terminal."""


class Meter:
    """Count processed rows. The rate is per second of `seconds`, not of wall-clock time."""

    def __init__(self, unit: str, total: int | None) -> None:
        self.rows = 0
        self.seconds = 0.0
        self._unit = unit
        self._total = total
        self._reported = self._started = time.monotonic()

    def add(self, rows: int, seconds: float) -> None:
        """Count rows that took `seconds` to store."""
        self.rows += rows
        self.seconds += seconds
        self.show()

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds if self.seconds else 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def show(self) -> None:
        """Print a line, unless the previous one is recent."""
        if time.monotonic() - self._reported < LINE_SECONDS:
            return
        self._reported = time.monotonic()
        of = rest = ""
        if self._total:
            of = f" of {self._total:,}"
            seconds_left = round(self.elapsed / max(self.rows, 1) * (self._total - self.rows))
            rest = f", {timedelta(seconds=seconds_left)} left"
        progress(f"{self.rows:,}{of} {self._unit}, {self.rate:,.0f} per second{rest}")


class _Bar(Meter):
    def __init__(self, unit: str, total: int | None, bar: Progress) -> None:
        super().__init__(unit, total)
        self._bar = bar
        self._task = bar.add_task(unit, total=total, rows="0", rate="")

    def show(self) -> None:
        self._bar.update(self._task, completed=self.rows, rows=f"{self.rows:,}", rate=f"{self.rate:,.0f}/s")


@contextmanager
def meter(unit: str, total: int | None) -> Generator[Meter]:
    """Yield a meter of `total` rows (None: unknown)."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Meter(unit, total)
        return
    rest: tuple[ProgressColumn, ...] = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) if total else ()
    counted = TextColumn("{task.fields[rows]} {task.description}"), TextColumn("{task.fields[rate]}")
    with Progress(*counted, *rest, console=console, transient=True) as bar:
        yield _Bar(unit, total, bar)
