"""Serving: the socket, the workers, the signals and the line that says that all is ready."""

import asyncio
import gc
import http.client
import multiprocessing
import os
import resource
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import connection, resource_tracker
from types import FrameType
from typing import Any

import uvicorn
from litestar import Litestar
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from market_data.app import create_app
from market_data.errors import StartError
from market_data.middleware import shared_buckets
from market_data.server.http_protocol import HeaderTimeoutProtocol
from market_data.server.signals import configure_logging
from market_data.services import Services
from market_data.settings import read_settings
from market_data.telemetry import metrics

REQUESTS_STOP_SECONDS = 4
"""How long requests in flight may take to end. With what the feed (1.5 s), the pool (1 s) and the embedded engine (2.5 s)
may take after them, a stop is over in 10 s."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""

LISTENERS = 8
"""On how many file descriptors a worker listens, all of one socket: the event loop accepts one connection of each before it
turns to its other work, and with a single one a thousand new clients of a busy worker wait for many seconds."""

UNREAD_SECONDS = 30
"""How long a client may leave what it is sent unread: then the kernel ends its connection."""

MOST_COMMAND_BYTES = 1_000_000
"""What a client may send as one message over a WebSocket."""

WORKER_SILENCE_SECONDS = 15
"""After this a worker that does not answer its supervisor is replaced."""


def listen(host: str, port: int) -> socket.socket:
    """The socket to serve on, bound but not listening yet.

    Raises:
        StartError: The address can't be had; the message says why.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # of Linux; the connections inherit it
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
        bound.bind(address)
    except OSError as error:
        raise _not_to_be_had(host, port, error) from None
    return bound


def _not_to_be_had(host: str, port: int, error: OSError) -> StartError:
    return StartError(f"Can't listen on {host} port {port} ({error.strerror}); choose another with --host or --port.")


def serve(bound: socket.socket, workers: int, on_ready: Callable[[str], None]) -> None:
    """Serve on a socket until told to stop. The workers read their settings from the environment.

    `on_ready` is called with the base URL once a first request has been answered.

    Raises:
        StartError: Another process listens there by now, or no worker could start.
    """
    try:
        bound.listen(BACKLOG)  # here and not by uvicorn, whose event loop would keep a failure to itself
    except OSError as error:
        host, port, *_ = bound.getsockname()
        raise _not_to_be_had(host, port, error) from None
    _allow_many_clients()
    settings = read_settings()
    listeners = [bound, *(bound.dup() for _ in range(LISTENERS - 1))]
    config = uvicorn.Config(
        "market_data.server.serve:create_worker",
        factory=True,
        workers=workers,
        log_config=None,
        access_log=False,  # `observer` writes it
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=settings.proxies,
        http=HeaderTimeoutProtocol,
        ws="websockets-sansio",
        ws_max_size=MOST_COMMAND_BYTES,
        ws_per_message_deflate=False,  # a compressor for each client costs more than the bytes
        timeout_graceful_shutdown=REQUESTS_STOP_SECONDS,
        timeout_worker_healthcheck=WORKER_SILENCE_SECONDS,
    )
    threading.Thread(target=_announce, args=(bound, on_ready), daemon=True).start()
    if workers == 1:
        server = uvicorn.Server(config)
        server.run(sockets=listeners)
        failed = not server.started
    else:
        hang_up = signal.getsignal(signal.SIGHUP)
        supervisor = Supervisor(config, sockets=listeners)
        signal.signal(signal.SIGHUP, hang_up)  # for uvicorn it would mean to restart the workers
        with _shared_metrics(), shared_buckets.shared_buckets_file() if settings.rate_limit else nullcontext():
            supervisor.run()
        failed = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
    if failed:
        raise StartError("The service did not start; the log says why.")


@contextmanager
def _shared_metrics() -> Generator[None]:
    """A new folder for what the workers that are started here count together."""
    with tempfile.TemporaryDirectory(prefix="market-data-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ[metrics.FOLDER] = folder
        yield


def _allow_many_clients() -> None:
    """Have as many files open as the system lets us, for each client of a stream takes one: often the default is 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # where even this is too much
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Supervisor(Multiprocess):
    """Uvicorn's, which asks its workers for a sign of life only once one of them is gone.

    To ask all the time is to be deaf to signals meanwhile: for as long as a worker takes to start, and for all the time-out
    where Ctrl-C has ended that worker.
    """

    def init_processes(self) -> None:
        """Start the workers."""
        with _ctrl_c_blocked():
            super().init_processes()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that are gone."""
        if not all(worker.process.is_alive() for worker in self.processes):
            before = {worker.pid for worker in self.processes}
            with _ctrl_c_blocked():
                super().keep_subprocess_alive()
            for gone in before - {worker.pid for worker in self.processes}:
                if gone is not None:
                    metrics.forget(gone)


@contextmanager
def _ctrl_c_blocked() -> Generator[None]:
    """A process started here inherits the block: a Ctrl-C that finds it still importing is no traceback.

    It waits for this process until the end of the block, and for the new one until `create_worker`.
    """
    resource_tracker.ensure_running()  # to start it with the first process would lift the block
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def create_worker() -> Litestar:
    """The application of one worker process, which ends when its supervisor does, however that ended."""
    configure_logging()
    if supervisor := multiprocessing.parent_process():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor hears it too, and tells us
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # uvicorn listens to it by now
        threading.Thread(target=_end_with, args=(supervisor.sentinel,), daemon=True).start()
    app = create_app()
    _stop_streams_first(app)
    # What is there by now stays: to look through it for garbage again and again stopped all requests for 40 ms.
    gc.collect()
    gc.freeze()
    return app


def _stop_streams_first(app: Litestar) -> None:
    """At a signal to stop end the streams, for which uvicorn would wait as for any other request.

    Its own handlers are in place by now, and do what they do after that.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        then = signal.getsignal(number)

        def stop(signal_number: int, frame: FrameType | None, then: Any = then) -> None:
            services: Services | None = app.state.get("services")
            if services:
                loop.call_soon_threadsafe(services.hub.stop)
            if callable(then):
                then(signal_number, frame)

        signal.signal(number, stop)


def _announce(bound: socket.socket, on_ready: Callable[[str], None]) -> None:
    """Ask for the front page until it is there."""
    address: tuple[str, int] = bound.getsockname()[:2]
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not bound to
    while True:
        try:
            client = http.client.HTTPConnection(host, port, timeout=5)
            client.request("GET", "/")
            client.getresponse().read()
            client.close()
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        else:
            break
    on_ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
