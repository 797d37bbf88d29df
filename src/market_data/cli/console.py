"""Talking to the person who ran the command."""

import sys


def say(line: str) -> None:
    """Tell what is going on. What a terminal would obey, of a file's names for one, is shown as its code."""
    shown = "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in line)
    print(f"market-data: {shown}", file=sys.stderr, flush=True)


def tell(line: str) -> None:
    """Print a piece of the result."""
    print(line, flush=True)
