"""The service and the commands as processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from helpers.support import LONG_TIMEOUTS

T = TypeVar("T")


class Process:
    """A running `market-data` in its own session, so that a test can signal its process group."""

    prefix: tuple[str, ...] = ()
    """Program that executes it, with its arguments."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.log = folder / f"process-{time.monotonic_ns()}.log"
        inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "market_data.cli.main", *arguments],
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        """Output so far."""
        return self.log.read_text()

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def wait(self, seconds: float = 15) -> int:
        """Return the exit status."""
        return self.process.wait(seconds)

    def descendants(self) -> list[int]:
        """Return the ids of its descendant processes."""
        found = [self.process.pid]
        for parent in found:
            found.extend(_children(parent))
        return found[1:]

    def end(self) -> None:
        """Terminate the process, and kill its group if it does not end."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL, group=True)
                self.wait()


class Service(Process):
    """A running `market-data serve`."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        super().__init__(folder, "serve", "--port", "0", *arguments, **{**LONG_TIMEOUTS, **environment})

    def wait_until_ready(self, seconds: float = 60) -> str:
        """Wait for the line that reports readiness, and return the base URL."""

        def base() -> str | None:
            assert self.process.poll() is None, f"the service ended: {self.text}"
            return next((line.split()[3].rstrip(",") for line in self.text.splitlines() if ": ready on" in line), None)

        return eventually(base, seconds)

    def workers(self) -> list[int]:
        """Return the ids of its worker processes, if it has several."""
        return _children(self.process.pid, "-f", "spawn_main")


def _children(parent: int, *matching: str) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(parent), *matching], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


@contextmanager
def running(folder: Path, *arguments: str, **environment: str) -> Iterator[tuple[Service, httpx.Client]]:
    """Yield a service that is ready, and an HTTP client."""
    service = Service(folder, *arguments, **environment)
    try:
        with httpx.Client(base_url=service.wait_until_ready(), timeout=30) as client:
            yield service, client
    finally:
        service.end()


def command(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "market_data.cli.main", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def error_line(*arguments: str, **environment: str) -> str:
    """Run a command that must fail, and return its error message, which must be one line."""
    ended = command(*arguments, **environment)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


def eventually(call: Callable[[], T | None], seconds: float = 30) -> T:
    """Call a function until its result is true, and return the result."""
    deadline = time.monotonic() + seconds
    while not (result := call()):
        assert time.monotonic() < deadline, f"not true within {seconds:g} s"
        time.sleep(0.05)
    return result


def is_running(pid: int) -> bool:
    """True if a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
