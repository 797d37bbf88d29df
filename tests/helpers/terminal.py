"""Pseudo-terminal for commands that draw on the screen."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STYLES = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")


def _environment() -> dict[str, str]:
    """Return the environment without LINES and COLUMNS, which readline sets and which would override the terminal's size."""
    return {name: value for name, value in os.environ.items() if name not in {"LINES", "COLUMNS"}}


class Terminal:
    """A command in a terminal of 100 columns and 12 lines."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "market_data.cli.main", *arguments],
            env={**_environment(), "TERM": "xterm-256color", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.written = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # on Linux: the other end is closed
                return
            self.written += piece.decode()

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    @property
    def screen(self) -> list[str]:
        """Lines of the last complete drawing."""
        drawings = self.written.split("\x1b[H")
        return [line.rstrip() for line in STYLES.sub("", drawings[-2]).splitlines()] if len(drawings) > 2 else []

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(5)
        os.close(self._ours)


@contextmanager
def terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    """Run a command in a terminal for the block."""
    opened = Terminal(*arguments, **environment)
    try:
        yield opened
    finally:
        opened.end()
