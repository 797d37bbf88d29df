"""The program `market-data`: its commands and their modules."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from market_data import __version__

COMMANDS = {
    "serve": ("operate.serve", "serve the HTTP API and feed the random walk"),
    "migrate": ("operate.migrate", "migrate the database without serving"),
    "watch": ("operate.watch", "show live prices"),
    "status": ("operate.status", "show the state of a running service"),
    "psql": ("operate.psql", "open psql on the database"),
    "calendars": ("operate.calendars", "show, refresh and import calendars of trading sessions"),
    "backfill": ("data.backfill", "write synthetic history before the earliest trades"),
    "import": ("data.import_trades", "store the trades of a file"),
    "actions": ("data.actions", "import and list splits, dividends and spin-offs"),
    "symbols": ("data.symbols", "list, show, change and import symbols"),
    "retention": ("data.retention", "show or set how long trades are kept"),
    "pin": ("operate.pins", "keep a version answerable in spite of retention"),
    "doctor": ("care.doctor", "find problems of the database, with remedies"),
    "log-key": ("operate.log_key", "show or rotate the key of the transparency log"),
    "verify": ("care.verify", "compare the database with its transparency log"),
    "verify-receipt": ("care.verify_receipt", "verify a receipt of a trade or candle offline"),
    "backup": ("care.backup", "save the database to a file"),
    "restore": ("care.restore", "restore a backup into an empty database"),
    "keys": ("operate.keys", "create, list, rotate and revoke API keys"),
}
"""Module in this package and summary, by command. Its `add_arguments(parser)` sets the default `command` as well."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns the exit status."""
    parsed = _parser().parse_args(arguments)
    from market_data.cli import runner

    return runner.run_command(parsed)


class _LazyParser(argparse.ArgumentParser):
    """Parser of one command. It imports the command's module when the command is used, because most take long to import."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[reportIncompatibleMethodOverride]  # typeshed has an overload for each namespace
        import_module(f"market_data.cli.{COMMANDS[self.prog.rpartition(' ')[2]][0]}").add_arguments(self)
        return super().parse_known_args(args, namespace)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="market-data",
        description="Market prices over HTTP, stored in TimescaleDB. Settings are environment variables; see the README.",
        epilog="Run `market-data COMMAND --help` for the options of a command.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_LazyParser)
    for name, (_, summary) in COMMANDS.items():
        commands.add_parser(name, help=summary)
    return parser


if __name__ == "__main__":
    sys.exit(main())
