"""HTTP server: socket, workers, signals, and the report that the service is ready."""

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

from market_data import body_store
from market_data.app import create_app
from market_data.errors import StartError
from market_data.middleware import shared_buckets
from market_data.server.http_protocol import HttpProtocol
from market_data.server.signals import configure_logging
from market_data.server.stop import REQUESTS_STOP_SECONDS
from market_data.server.websocket_protocol import WebSocketProtocol
from market_data.services import Services
from market_data.settings import Settings, read_settings
from market_data.telemetry import metrics

BACKLOG = 4096
"""Connections that the kernel queues until they are accepted: Linux' own limit (`net.core.somaxconn`). A client for which
there is no room tries again after one second, then after two more."""

LISTENERS = 16
"""File descriptors of the socket on which a worker listens. The event loop accepts one connection per descriptor and
iteration: with a single one, a thousand new clients of a busy worker wait for many seconds; with many, prices wait for
thousands of new clients."""

UNREAD_SECONDS = 30
"""Time after which the kernel ends the connection of a client that does not read."""

MAX_WEBSOCKET_MESSAGE_BYTES = 128_000
"""Size of a message from a client."""

WORKER_SILENCE_SECONDS = 15
"""Time for a worker to respond when the supervisor pings it, which it does only after another worker has ended."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound, but does not listen yet.

    Raises:
        StartError: The address is not available.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux only; accepted connections inherit it
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
        bound.bind(address)
    except OSError as error:
        raise _address_error(host, port, error) from None
    return bound


def _address_error(host: str, port: int, error: OSError) -> StartError:
    return StartError(
        f"Can't listen on {host} port {port} ({error.strerror}); choose another address with --host or --port "
        "(LISTEN_HOST or PORT)."
    )


def serve(bound: socket.socket, workers: int, on_ready: Callable[[str], None]) -> None:
    """Serve on a socket until a signal. The workers read their settings from the environment.

    Calls `on_ready` with the base URL after the first successful request.

    Raises:
        StartError: Another process listens on the address, or no worker started.
    """
    try:
        bound.listen(BACKLOG)  # here, because an error in uvicorn would be lost in its event loop
    except OSError as error:
        host, port, *_ = bound.getsockname()
        raise _address_error(host, port, error) from None
    _allow_many_clients()
    settings = read_settings()
    listeners = [bound, *(bound.dup() for _ in range(LISTENERS - 1))]
    config = _config(settings, workers)
    threading.Thread(target=_report_ready, args=(bound, on_ready), daemon=True).start()
    if workers == 1:
        server = uvicorn.Server(config)
        server.run(sockets=listeners)
        failed = not server.started
    else:
        on_hangup = signal.getsignal(signal.SIGHUP)
        supervisor = Supervisor(config, sockets=listeners)
        signal.signal(signal.SIGHUP, on_hangup)  # uvicorn's handler restarts the workers
        with (
            tempfile.TemporaryDirectory(prefix="market-data-metrics-", ignore_cleanup_errors=True) as folder,
            body_store.bodies_folder() as bodies,
            shared_buckets.shared_buckets_file() if settings.rate_limit else nullcontext(),
        ):
            os.environ[metrics.FOLDER], os.environ[body_store.FOLDER] = folder, bodies
            supervisor.run()
        failed = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
    if failed:
        raise StartError("The service did not start; see the log for the reason.")


def _config(settings: Settings, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        "market_data.server.serve:create_worker",
        factory=True,
        workers=workers,
        log_config=None,
        access_log=False,  # `middleware.access_log` writes it
        server_header=False,
        proxy_headers=False,  # `middleware.proxies` reads them
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=MAX_WEBSOCKET_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # a compressor per client costs more than it saves
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=REQUESTS_STOP_SECONDS,
        timeout_worker_healthcheck=WORKER_SILENCE_SECONDS,
    )


def _allow_many_clients() -> None:
    """Raise the limit of open files, of which each connection takes one, to the maximum. The default is often 1,024."""
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems report a maximum that they do not accept
        resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))


class Supervisor(Multiprocess):
    """Uvicorn's supervisor, which pings its workers only after one of them has ended.

    Uvicorn pings them all the time, and handles no signal while it waits for the reply of a worker that is starting or that
    Ctrl-C has ended.
    """

    def init_processes(self) -> None:
        """Start the workers."""
        with _ctrl_c_blocked():
            super().init_processes()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have ended."""
        if not all(worker.process.is_alive() for worker in self.processes):
            before = {worker.pid for worker in self.processes}
            with _ctrl_c_blocked():
                super().keep_subprocess_alive()
            for ended in before - {worker.pid for worker in self.processes}:
                if ended is not None:
                    metrics.count_replaced_worker(ended)


@contextmanager
def _ctrl_c_blocked() -> Generator[None]:
    """Block SIGINT in this process and those that it starts, so that Ctrl-C causes no traceback during their imports.

    The signal stays pending: in this process until the end of the block, in a new one until `create_worker`.
    """
    resource_tracker.ensure_running()  # otherwise the first process starts it, which would unblock the signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def create_worker() -> Litestar:
    """Return the application of a worker process. The process ends with its supervisor, even if the supervisor is killed."""
    configure_logging()
    if supervisor := multiprocessing.parent_process():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor receives it too, and stops the workers
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # uvicorn has installed its handler
        threading.Thread(target=_stop_after, args=(supervisor.sentinel,), daemon=True).start()
    app = create_app()
    _stop_streams_first(app)
    # These objects live as long as the process: without the freeze, garbage collection paused all requests for 40 ms.
    gc.collect()
    gc.freeze()
    return app


def _stop_streams_first(app: Litestar) -> None:
    """Close the streams when a signal stops the process, because uvicorn waits for all requests to end.

    Wraps the signal handlers that uvicorn has already installed.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        uvicorn_handler = signal.getsignal(number)

        def stop(signal_number: int, frame: FrameType | None, uvicorn_handler: Any = uvicorn_handler) -> None:
            services: Services | None = app.state.get("services")
            if services:
                loop.call_soon_threadsafe(services.hub.clients.stop)
            if callable(uvicorn_handler):
                uvicorn_handler(signal_number, frame)

        signal.signal(number, stop)


def _report_ready(bound: socket.socket, on_ready: Callable[[str], None]) -> None:
    """Request `/health/live`, whose requests are logged at DEBUG only, until it responds; then call `on_ready`."""
    address: tuple[str, int] = bound.getsockname()[:2]
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - a comparison
    while True:
        try:
            client = http.client.HTTPConnection(host, port, timeout=5)
            client.request("GET", "/health/live")
            client.getresponse().read()
            client.close()
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        else:
            break
    on_ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def _stop_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
