"""Output of the commands: progress and errors on standard error, results on standard output."""

import sys


def progress(line: str) -> None:
    """Print a line to standard error. Control characters, such as those of a file name, are escaped."""
    escaped = "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in line)
    print(f"market-data: {escaped}", file=sys.stderr, flush=True)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as `1 row` or `2,000 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def output(line: str) -> None:
    """Print a part of the result to standard output."""
    print(line, flush=True)
