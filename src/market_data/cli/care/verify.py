"""Compare the database with its transparency log, and the log with a checkpoint that somebody has kept."""

import argparse
from pathlib import Path

from market_data.cli.console import output, progress
from market_data.cli.runner import migrated_database, run_async
from market_data.database.connection import connect
from market_data.errors import CommandFailed
from market_data.proof.notes import InvalidNote, VerifierKey, parse_key
from market_data.settings import Settings
from market_data.transparency.verifier import LogMismatchError, Verifier

MAX_BYTES = 1_000_000
"""Size of a file with a checkpoint, receipt or key."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since", metavar="VERSION", type=int, default=0, help="verify entries about later versions only (default: all)"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        type=Path,
        help="a checkpoint (/log/checkpoint) that was kept: the log must contain it",
    )
    parser.add_argument("--key", metavar="KEY", help="verifier key (/log/key) that was kept, or a file with it")
    parser.set_defaults(command=_run)


def read_text(path: Path) -> str:
    """Return the text of a file, with one newline at its end.

    Raises:
        CommandFailed: It can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode().rstrip("\n") + "\n"
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path} can't be read: {error}") from None


def read_verifier_keys(text: str) -> list[VerifierKey]:
    """Return verifier keys from an argument: the key itself, or a file with a key on each line.

    Raises:
        CommandFailed: There is no key.
    """
    try:
        if text.count("+") < 2 or Path(text).is_file():
            text = read_text(Path(text))
        return [parse_key(line) for line in text.split()]
    except InvalidNote as error:
        raise CommandFailed(str(error)) from None


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    kept = read_text(parsed.checkpoint) if parsed.checkpoint else None
    keys = read_verifier_keys(parsed.key) if parsed.key else []
    with migrated_database(settings) as database_url:
        return run_async(_verify(database_url, parsed.since, kept, keys), again="the same command begins again")


async def _verify(database_url: str, since: int, kept: str | None, keys: list[VerifierKey]) -> int:
    async with await connect(database_url, 0) as connection:
        try:
            done = await Verifier(connection, progress).verify(since, kept, keys)
        except LogMismatchError as error:
            raise CommandFailed(str(error)) from None
    output(
        f"{done.size:,} entries and {done.checkpoints:,} checkpoints fit each other; the trades of {done.commits:,} commits "
        f"and the candles of {done.candles:,} entries fit the log"
    )
    if done.dropped:
        output(
            f"{done.dropped:,} entries fit by their hashes only, because trades have been dropped: complete after version "
            f"{done.complete_after}"
        )
    return 0
