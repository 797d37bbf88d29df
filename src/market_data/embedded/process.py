"""The engine's operating-system process, and the thread that sees to it that it runs."""

import json
import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

from market_data.embedded.errors import EngineError
from market_data.embedded.home import Home
from market_data.embedded.packages import NODE, node_binary

START_SECONDS = 120.0
STOP_SECONDS = 2.5
STABLE_SECONDS = 60.0
BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
LOG_TAIL = 3


class EngineProcess:
    """Runs the engine on a home that the caller has claimed, and runs it again if it dies."""

    def __init__(self, home: Home, lock: int, modules: Path, port: int, say: Callable[[str], None]) -> None:
        self._home = home
        self._lock = lock
        self._modules = modules
        self._port = port
        self._say = say
        self._stopping = threading.Event()
        self._process = self._spawn()
        self._watcher = threading.Thread(target=self._watch, name="embedded-engine", daemon=True)

    def start(self) -> int:
        """Wait until the engine is ready; the port it listens on. Raises `EngineError` with what its log says."""
        try:
            self._port = self._ready()
        except BaseException:
            self._end()
            raise
        self._watcher.start()
        return self._port

    def stop(self) -> None:
        """End the engine in order: it rolls back what is open, writes a checkpoint, and exits."""
        self._stopping.set()
        self._home.withdraw()
        self._end()
        self._watcher.join()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._home.open_log() as log:
            try:
                return subprocess.Popen(  # noqa: S603 (our own command line)
                    [
                        str(node_binary()),
                        f"--stack-size={_stack_kilobytes()}",
                        str(NODE / "bridge.mjs"),
                        str(self._modules),
                        str(self._home.data),
                        str(self._port),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    pass_fds=[self._lock],
                    # Ctrl-C reaches a whole process group; the engine must outlive the service's orderly stop.
                    start_new_session=True,
                    env={name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"},
                )
            except OSError as error:
                raise EngineError(f"can't start Node.js for the embedded engine: {error}") from error

    def _ready(self) -> int:
        """Relay what the engine says until it is ready."""
        process = self._process
        lines: SimpleQueue[bytes] = SimpleQueue()
        threading.Thread(target=_relay, args=(process, lines), daemon=True).start()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise EngineError(
                    f"the embedded engine isn't ready after {START_SECONDS:.0f} s; see {self._home.log}"
                ) from None
            if not line:
                raise EngineError(f"the embedded engine can't start: {self._log_tail()} (see {self._home.log})")
            told = _message(line)
            if "say" in told:
                self._say(told["say"])
            elif "error" in told:
                raise EngineError(
                    f"the embedded engine can't start: {' '.join(told['error'].split())} (see {self._home.log})"
                )
            elif "port" in told:
                self._home.announce(process.pid, told["port"])
                return told["port"]

    def _end(self) -> None:
        process = self._process
        _close(process)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # In the middle of a long statement, which nothing can cancel. The write-ahead log has what counts.
            process.kill()
            process.wait()

    def _watch(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            status = self._process.wait()
            _close(self._process)
            if self._stopping.is_set():
                return
            self._home.withdraw()
            failures = 0 if time.monotonic() - started > STABLE_SECONDS else failures
            self._say(f"the embedded engine died ({_cause(status)}); starting it again")
            while not self._restarted(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]):
                if self._stopping.is_set():
                    return
                failures += 1
            failures += 1

    def _restarted(self, delay: float) -> bool:
        if self._stopping.wait(delay):
            return False
        try:
            self._process = self._spawn()
            # stop() may have ended the one before.
            if self._stopping.is_set():
                self._end()
            if self._ready() != self._port:
                raise EngineError(f"port {self._port}, which the embedded engine had, is taken")
        except EngineError as error:
            if not self._stopping.is_set():
                self._say(str(error))
            self._end()
            return False
        self._say("the embedded engine runs again")
        return True

    def _log_tail(self) -> str:
        try:
            lines = self._home.log.read_text(errors="replace").splitlines()
        except OSError:
            return "its log can't be read"
        return " | ".join(lines[-LOG_TAIL:]) or "it wrote nothing"


def _relay(process: subprocess.Popen[bytes], lines: SimpleQueue[bytes]) -> None:
    if process.stdout:
        with process.stdout as stdout:
            for line in stdout:
                lines.put(line)
    lines.put(b"")


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()


def _message(line: bytes) -> dict[str, Any]:
    """A line of bridge.mjs; empty for what a library prints."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return cast("dict[str, Any]", told) if isinstance(told, dict) else {}


def _cause(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"


def _stack_kilobytes() -> int:
    """Half of what the system grants a thread: deep SQL needs the room, and V8 doesn't look before it leaps."""
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    granted = 8 << 20 if soft == resource.RLIM_INFINITY else soft
    return max(984, min(granted // 2 // 1024, 3900))
