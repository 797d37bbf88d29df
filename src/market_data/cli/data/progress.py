"""How far a command has come, told to the person who ran it."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from market_data.cli.console import progress

PLAIN_SECONDS = 10
"""Between two lines of progress where standard error is no terminal."""


class Meter:
    """How far a command has come. Rates are over the time in which `seconds` grew, not over the wall clock."""

    def __init__(self, what: str, total: int | None) -> None:
        self.rows = 0
        self.seconds = 0.0
        self._what = what
        self._total = total
        self._told = self._started = time.monotonic()

    def add(self, rows: int, seconds: float) -> None:
        """Count rows that took so many seconds."""
        self.rows += rows
        self.seconds += seconds
        self.show()

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds if self.seconds else 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def show(self) -> None:
        """Tell how far it is, now and then."""
        if time.monotonic() - self._told < PLAIN_SECONDS:
            return
        self._told = time.monotonic()
        of = rest = ""
        if self._total:
            of = f" of {self._total:,}"
            rest = f", {_clock(self.elapsed / max(self.rows, 1) * (self._total - self.rows))} left"
        progress(f"{self.rows:,}{of} {self._what}, {self.rate:,.0f} a second{rest}")


class _Bar(Meter):
    """The same as a bar."""

    def __init__(self, what: str, total: int | None, progress: Progress) -> None:
        super().__init__(what, total)
        self._progress = progress
        self._task = progress.add_task(what, total=total, rows="0", rate="")

    def show(self) -> None:
        self._progress.update(self._task, completed=self.rows, rows=f"{self.rows:,}", rate=f"{self.rate:,.0f}/s")


@contextmanager
def meter(what: str, total: int | None) -> Generator[Meter]:
    """Progress over so many rows (None: nobody knows): a bar on a terminal, else a line every ten seconds."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Meter(what, total)
        return
    rest: tuple[ProgressColumn, ...] = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) if total else ()
    counted = TextColumn("{task.fields[rows]} {task.description}"), TextColumn("{task.fields[rate]}")
    with Progress(*counted, *rest, console=console, transient=True) as progress:
        yield _Bar(what, total, progress)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
