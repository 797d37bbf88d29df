"""Migrate the database without serving."""

import argparse

from market_data.cli import runner
from market_data.cli.console import progress
from market_data.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Migrate DATABASE_URL, or the database of the embedded engine if that is not set, to the newest schema."
    )
    parser.set_defaults(command=_run)


def _run(settings: Settings, _: argparse.Namespace) -> int:
    with runner.migrated_database(settings):
        progress("the database has the newest schema")
    return 0
