"""Verify a receipt (`/log/proof`) offline."""

import argparse
from pathlib import Path

from market_data.cli.care.verify import read_text, read_verifier_keys
from market_data.cli.console import output
from market_data.errors import CommandFailed
from market_data.proof.notes import InvalidNote
from market_data.proof.receipts import verify_receipt
from market_data.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("receipt", metavar="FILE", type=Path, help="a receipt, as /log/proof returns it")
    parser.add_argument(
        "--key",
        metavar="KEY",
        required=True,
        help="verifier key of the log (/log/key), or a file with it and witnesses' keys",
    )
    parser.set_defaults(command=_run)


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    try:
        verified = verify_receipt(read_text(parsed.receipt), read_verifier_keys(parsed.key))
    except InvalidNote as error:
        raise CommandFailed(f"{parsed.receipt} is not a valid receipt: {error}.") from None
    output(verified.leaf)
    output(f"is in entry {verified.number} of the log {verified.checkpoint.origin}:")
    output(verified.entry.rstrip("\n"))
    output(f"signed by {', '.join(key.name for key in verified.signers)} at {verified.checkpoint.size} entries")
    return 0
