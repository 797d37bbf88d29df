"""Serve the HTTP API on a migrated database."""

import argparse
import ipaddress
import os
import shlex
from contextlib import ExitStack

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from market_data import embedded
from market_data.api.compat import selected_protocols
from market_data.api.mcp import check_library
from market_data.cli.console import progress
from market_data.cli.durations import number_between
from market_data.cli.operate.calendar_refresh import refreshed_calendars
from market_data.cli.runner import migrate_when_reachable, when_reachable
from market_data.database.refusals import check_pooler
from market_data.embedded import EngineError
from market_data.errors import SettingsError
from market_data.middleware.proxies import normalize_address
from market_data.server.serve import listen, serve
from market_data.server.signals import stop_in_order
from market_data.settings import Settings
from market_data.url_settings import path_prefix


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Migrate the database, then serve. Uses DATABASE_URL, or the embedded engine if that is not set."
    parser.add_argument("--host", help="address to listen on (default: LISTEN_HOST, else 127.0.0.1)")
    parser.add_argument(
        "--port",
        type=number_between(0, 65535),
        help="port to listen on, 0 for any free one (default: PORT, else 8000)",
    )
    parser.add_argument(
        "--workers", type=number_between(1, 64), help="number of worker processes (default: WORKERS, else 1)"
    )
    parser.add_argument(
        "--root-path",
        type=_read_root_path,
        metavar="PREFIX",
        help="path prefix under which a proxy shows the service, such as /market-data (default: ROOT_PATH, else none)",
    )
    parser.set_defaults(command=_run)


def _read_root_path(text: str) -> str:
    try:
        return path_prefix(text, "path")
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    stop_in_order(0)
    selected_protocols(settings.compatibility)  # its error stands here once, and not in the log of each worker
    check_library(settings)
    host = settings.listen_host if parsed.host is None else parsed.host
    port = settings.port if parsed.port is None else parsed.port
    workers = settings.workers if parsed.workers is None else parsed.workers
    with ExitStack() as stack:
        if settings.database_url is not None:
            bound = stack.enter_context(listen(host, port))
            database_url = settings.database_url
        else:
            # Before the socket, so that a second service on this folder reports the first service, not its port.
            engine = embedded.owned_engine(settings.home, report=progress, port=settings.embedded_port)
            database_url = stack.enter_context(engine)
            os.environ["DATABASE_URL"] = database_url
            bound = stack.enter_context(listen(host, port))
            database_port = conninfo_to_dict(database_url)["port"]
            if settings.embedded_port and str(database_port) != str(settings.embedded_port):
                progress(f"port {settings.embedded_port} is in use, so the database is on port {database_port}")
        migrate_when_reachable(settings.direct_url or database_url, settings)
        when_reachable(lambda: check_pooler(settings), settings.database_start_timeout_seconds)
        assets = settings.docs_assets or _installed_assets()
        os.environ["DOCS_ASSETS"] = assets
        if not settings.allowed_hosts and ipaddress.ip_address(normalize_address(bound.getsockname()[0])).is_loopback:
            os.environ["ALLOWED_HOSTS"] = "localhost"
        if parsed.root_path is not None:
            os.environ["ROOT_PATH"] = parsed.root_path

        def ready(base: str) -> None:
            pages = f", dashboard on {base}/dashboard, docs on {base}/docs" if assets else ""
            progress(f"ready on {base}{pages}")
            progress(f"database: psql {shlex.quote(_without_password(settings.direct_url or database_url))}")

        stack.enter_context(refreshed_calendars(settings.direct_url or database_url))
        serve(bound, workers, ready)
    return 0


def _installed_assets() -> str:
    """Return the folder with the scripts of the pages, or an empty string if they can't be installed."""
    try:
        return str(embedded.node_modules(progress))
    except EngineError as error:
        progress(f"no dashboard and no documentation pages: {error}")
        return ""


def _without_password(database_url: str) -> str:
    """Return arguments for psql, which asks for the password if it needs one."""
    parameters = conninfo_to_dict(database_url)
    return make_conninfo(**{name: str(value) for name, value in parameters.items() if "password" not in name})
