"""The commands."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from market_data import __version__, embedded
from market_data.commands.parsers import add_parsers
from market_data.commands.running import migrate_when_there, migrated_database
from market_data.commands.terminal import say
from market_data.embedded import EngineError
from market_data.errors import MarketDataError
from market_data.server import configure_logging, listen, serve, stop_in_order
from market_data.settings import Settings, read_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `market-data`. Returns the exit status: 1 with one line on standard error for what went wrong."""
    parsed = _parser().parse_args(arguments)
    stop_in_order()
    try:
        settings = read_settings()
        configure_logging()
        status: int = parsed.command(settings, parsed)
    except (MarketDataError, EngineError) as error:
        say(str(error))
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="market-data",
        description="Market prices over HTTP, out of TimescaleDB. Settings are environment variables; see the README.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serving = commands.add_parser(
        "serve",
        help="serve the HTTP interface and feed the random walk",
        description="Serve on DATABASE_URL, or on the embedded engine where that is not set. Migrates the database first.",
    )
    serving.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serving.add_argument("--port", type=_port, default=8000, help="port to listen on (default: %(default)s)")
    serving.add_argument("--workers", type=_workers, default=1, help="worker processes (default: %(default)s)")
    serving.set_defaults(command=_serve)
    migrating = commands.add_parser(
        "migrate",
        help="bring the database to the newest schema, without serving",
        description="Migrate DATABASE_URL, or the embedded engine's database where that is not set.",
    )
    migrating.set_defaults(command=_migrate)
    add_parsers(commands)
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 0 (any free one) to 65535")
    return int(text)


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} workers are not possible; give a number from 1 to 64")
    return int(text)


def _serve(settings: Settings, parsed: argparse.Namespace) -> int:
    with ExitStack() as stack:
        bound = None
        if settings.database_url is not None:
            bound = stack.enter_context(listen(parsed.host, parsed.port))
            database_url = settings.database_url
        else:
            # Before the socket, so that a second service on this folder hears of the first one, not of its port.
            engine = embedded.owned_engine(settings.home, say=say, port=settings.embedded_port)
            database_url = stack.enter_context(engine)
            bound = stack.enter_context(listen(parsed.host, parsed.port))
            port = conninfo_to_dict(database_url)["port"]
            if settings.embedded_port and str(port) != str(settings.embedded_port):
                say(f"port {settings.embedded_port} is in use, so the database is on port {port}")
        migrate_when_there(settings.direct_url or database_url, settings.database_start_timeout_seconds)
        os.environ["DATABASE_URL"] = database_url
        assets = settings.docs_assets or _installed_assets()
        os.environ["DOCS_ASSETS"] = assets

        def ready(base: str) -> None:
            say(f"ready on {base}, dashboard on {base}/dashboard, docs on {base}/docs" if assets else f"ready on {base}")
            say(f"database: psql {shlex.quote(_without_password(settings.direct_url or database_url))}")

        serve(bound, parsed.workers, ready)
    return 0


def _migrate(settings: Settings, _: argparse.Namespace) -> int:
    with migrated_database(settings):
        say("the database has the newest schema")
    return 0


def _installed_assets() -> str:
    """The folder of the pages' scripts; none where they can't be installed, which stops nothing else."""
    try:
        return str(embedded.node_modules(say))
    except EngineError as error:
        say(f"no dashboard and no documentation pages: {error}")
        return ""


def _without_password(database_url: str) -> str:
    """How psql connects to the same database; it asks for a password where one is needed."""
    parameters = conninfo_to_dict(database_url)
    return make_conninfo(**{name: str(value) for name, value in parameters.items() if "password" not in name})


if __name__ == "__main__":
    sys.exit(main())
