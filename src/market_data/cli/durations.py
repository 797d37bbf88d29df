"""Durations and whole numbers on the command line."""

import argparse
import re
from collections.abc import Callable
from datetime import timedelta

UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}
DURATION = re.compile(r"(\d{1,6})(ms|[smhdwy])", re.ASCII)


def duration_between(minimum: str, maximum: str) -> Callable[[str], timedelta]:
    """Return an argparse type for durations such as ``500ms``, ``1s``, ``90d`` or ``2y`` (a year has 365 days)."""
    bounds = _read(minimum), _read(maximum)

    def read(text: str) -> timedelta:
        try:
            duration = _read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a duration; give a number and a unit ({', '.join(UNITS)}), such as {minimum}"
            ) from None
        if not bounds[0] <= duration <= bounds[1]:
            raise argparse.ArgumentTypeError(f"{text!r} is out of range; give {minimum} to {maximum}")
        return duration

    return read


def number_between(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return an argparse type for whole numbers."""

    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) <= len(str(maximum)) and minimum <= int(text) <= maximum:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is out of range; give a whole number from {minimum} to {maximum}")

    return read


def format_long(duration: timedelta) -> str:
    """Return a duration in days and hours, such as ``90 days`` or ``90 days 4 h``."""
    hours = round(duration / timedelta(hours=1))
    days = "1 day" if hours // 24 == 1 else f"{hours // 24:,} days"
    return f"{days} {hours % 24} h" if hours % 24 else days


def format_short(duration: timedelta) -> str:
    """Return a duration in one unit, such as ``0.4 s``, ``45 s``, ``3 min``, ``5 h`` or ``12 d``; ``0.0 s`` if negative."""
    seconds = max(0.0, duration.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:,.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _read(text: str) -> timedelta:
    match = DURATION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(match[1]) * UNITS[match[2]]
