"""Operating-system process of the engine, and the thread that restarts it."""

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
"""Run time after which the next restart is immediate again."""
BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
LOG_TAIL_LINES = 3


class EngineProcess:
    """Runs the engine on a home that the caller has locked, and restarts it if it dies."""

    def __init__(self, home: Home, lock: int, modules: Path, port: int, report: Callable[[str], None]) -> None:
        self._home = home
        self._lock = lock
        self._modules = modules
        self._port = port
        self._report = report
        self._stopping = threading.Event()
        self._process = self._spawn()
        self._supervisor = threading.Thread(target=self._supervise, name="embedded-engine", daemon=True)

    def start(self) -> int:
        """Wait until the engine is ready and return its port. Raises `EngineError` with the end of its log."""
        try:
            self._port = self._wait_until_ready()
        except BaseException:
            self._terminate()
            raise
        self._supervisor.start()
        return self._port

    def stop(self) -> None:
        """Stop the engine: it rolls back open transactions, writes a checkpoint and exits."""
        self._stopping.set()
        self._home.remove_connection_file()
        self._terminate()
        self._supervisor.join()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._home.open_log() as log:
            try:
                return subprocess.Popen(  # noqa: S603 (the command line is ours)
                    [
                        str(node_binary()),
                        f"--stack-size={_stack_kilobytes()}",
                        str(NODE / "server.mjs"),
                        str(self._modules),
                        str(self._home.data),
                        str(self._port),
                        str(self._home.passfile),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    pass_fds=[self._lock],
                    # Ctrl-C reaches the whole process group; the engine must outlive the service's shutdown.
                    start_new_session=True,
                    env={name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"},
                )
            except OSError as error:
                raise EngineError(f"can't start Node.js for the embedded engine: {error}") from error

    def _wait_until_ready(self) -> int:
        """Pass on the engine's reports until it is ready; returns its port."""
        process = self._process
        lines: SimpleQueue[bytes] = SimpleQueue()
        threading.Thread(target=_enqueue_lines, args=(process, lines), daemon=True).start()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise self._error(f"isn't ready after {START_SECONDS:.0f} s") from None
            if not line:
                raise self._error(f"can't start: {self._log_tail()}")
            message = _parse(line)
            if "report" in message:
                self._report(message["report"])
            elif "error" in message:
                raise self._error(f"can't start: {' '.join(message['error'].split())}")
            elif "port" in message:
                self._home.write_connection_file(process.pid, message["port"])
                return message["port"]

    def _error(self, failure: str) -> EngineError:
        return EngineError(f"the embedded engine {failure} (see {self._home.log})")

    def _terminate(self) -> None:
        process = self._process
        _close_stdin(process)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # It runs a long statement, which can't be cancelled. The write-ahead log contains all commits.
            process.kill()
            process.wait()

    def _supervise(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            status = self._process.wait()
            _close_stdin(self._process)
            if self._stopping.is_set():
                return
            self._home.remove_connection_file()
            failures = 0 if time.monotonic() - started > STABLE_SECONDS else failures
            cause = f"signal {-status}" if status < 0 else f"status {status}"
            self._report(f"the embedded engine died ({cause}, see {self._home.log}); restarting it")
            while not self._restart(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]):
                if self._stopping.is_set():
                    return
                failures += 1
            failures += 1

    def _restart(self, delay: float) -> bool:
        if self._stopping.wait(delay):
            return False
        try:
            self._process = self._spawn()
            # stop() may have run meanwhile, and terminated only the previous process.
            if self._stopping.is_set():
                self._terminate()
            if self._wait_until_ready() != self._port:
                raise EngineError(f"another program uses port {self._port}, on which the embedded engine has to restart")
        except EngineError as error:
            if not self._stopping.is_set():
                self._report(str(error))
            self._terminate()
            return False
        self._report("the embedded engine has restarted")
        return True

    def _log_tail(self) -> str:
        try:
            lines = self._home.log.read_text(errors="replace").splitlines()
        except OSError:
            return "its log can't be read"
        return " | ".join(lines[-LOG_TAIL_LINES:]) or "its log is empty"


def _enqueue_lines(process: subprocess.Popen[bytes], lines: SimpleQueue[bytes]) -> None:
    """Read standard output in a thread, because the caller has a deadline; an empty line marks the end."""
    if process.stdout:
        with process.stdout as stdout:
            for line in stdout:
                lines.put(line)
    lines.put(b"")


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()


def _parse(line: bytes) -> dict[str, Any]:
    """Message of server.mjs; empty for a line that a library has printed."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return cast("dict[str, Any]", message) if isinstance(message, dict) else {}


def _stack_kilobytes() -> int:
    """Half of the system's stack limit: deep SQL needs it, and V8 doesn't check its size against the real stack."""
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    limit = 8 << 20 if soft == resource.RLIM_INFINITY else soft
    return max(984, min(limit // 2 // 1024, 3900))
