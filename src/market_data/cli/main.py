"""The commands."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from market_data import __version__
from market_data.cli.console import progress
from market_data.cli.parsers import add_parsers

if TYPE_CHECKING:
    from market_data.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `market-data`. Returns the exit status."""
    parsed = _parser().parse_args(arguments)
    from market_data.cli import runner

    return runner.perform(parsed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="market-data",
        description="Market prices over HTTP, out of TimescaleDB. Settings are environment variables; see the README.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve the HTTP interface and feed the random walk",
        description="Serve on DATABASE_URL, or on the embedded engine where that is not set. Migrates the database first.",
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=8000, help="port to listen on (default: %(default)s)")
    serve.add_argument("--workers", type=_workers, default=1, help="worker processes (default: %(default)s)")
    serve.set_defaults(command=_serve)
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


def _serve(settings: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli.operate import serve

    return serve.serve_on(settings, parsed.host, parsed.port, parsed.workers)


def _migrate(settings: "Settings", _: argparse.Namespace) -> int:
    from market_data.cli import runner

    with runner.migrated_database(settings):
        progress("the database has the newest schema")
    return 0


if __name__ == "__main__":
    sys.exit(main())
