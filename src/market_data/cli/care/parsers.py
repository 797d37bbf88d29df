"""What the commands of operators take on the command line: doctor, backup, restore."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from market_data.settings import Settings

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # type: ignore[reportPrivateUsage]  # has no public name


def add_parsers(commands: "Commands") -> None:
    """Add them to the program's commands."""
    _add_doctor(commands)
    _add_backup(commands)
    _add_restore(commands)


def _add_doctor(commands: "Commands") -> None:
    parser = commands.add_parser(
        "doctor",
        help="find out what is wrong with the database",
        description=(
            "Check the database and everything around it: a line for each check that says ok, warning or error, and what to "
            "do. Changes nothing. The exit status is 1 where something is an error, else 0."
        ),
    )
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    parser.add_argument(
        "--workers",
        type=_workers,
        default=1,
        help="worker processes of all services, for which the server must have connections (default: %(default)s)",
    )
    parser.set_defaults(command=_doctor)


def _doctor(settings: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli.care import doctor

    return doctor.examine(settings, workers=parsed.workers, as_json=parsed.json)


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers; give one from 1 to 10000")
    return int(text)


def _add_backup(commands: "Commands") -> None:
    parser = commands.add_parser(
        "backup",
        help="save the database in a file",
        description=(
            "Save DATABASE_URL with pg_dump, while the service goes on; or, where that is not set, the folder of the "
            "embedded engine, whose service must be stopped. There is nothing of that name until it is complete."
        ),
    )
    parser.add_argument(
        "path", type=Path, metavar="FILE", help="what to make; of the embedded engine a folder, unless it ends in .tar.gz"
    )
    parser.set_defaults(command=_backup)


def _backup(settings: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli.care import backup

    return backup.back_up(settings, parsed.path)


def _add_restore(commands: "Commands") -> None:
    parser = commands.add_parser(
        "restore",
        help="fill an empty database from a backup",
        description=(
            "Restore what `backup` has saved into DATABASE_URL, or into MARKET_DATA_HOME where that is not set. It must be "
            "empty. Then the schema is brought to the newest one."
        ),
    )
    parser.add_argument("path", type=Path, metavar="FILE", help="what `backup` has made")
    parser.set_defaults(command=_restore)


def _restore(settings: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli.care import restore

    return restore.restore(settings, parsed.path)
