"""Durations on the command line: a whole number and a unit."""

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
FORM = re.compile(r"(\d{1,6})(ms|[smhdwy])", re.ASCII)


def duration_between(lowest: str, highest: str) -> Callable[[str], timedelta]:
    """A reader for argparse of durations such as ``500ms``, ``1s``, ``90d`` or ``2y`` (a year has 365 days)."""
    bounds = _read(lowest), _read(highest)

    def read(text: str) -> timedelta:
        try:
            duration = _read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no duration; give a number with one of {', '.join(UNITS)}, such as {lowest}"
            ) from None
        if not bounds[0] <= duration <= bounds[1]:
            raise argparse.ArgumentTypeError(f"{text!r} is not possible; give {lowest} at the least, {highest} at the most")
        return duration

    return read


def format_long(duration: timedelta) -> str:
    """Such as ``90 days`` or ``90 days 4 h``; whole hours are as fine as it gets."""
    hours = round(duration / timedelta(hours=1))
    days = "1 day" if hours // 24 == 1 else f"{hours // 24:,} days"
    return f"{days} {hours % 24} h" if hours % 24 else days


def format_short(duration: timedelta) -> str:
    """Such as ``0.4 s``, ``45 s``, ``3 min``, ``5 h`` or ``12 d``; 0 for what lies ahead."""
    seconds = max(0.0, duration.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:,.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _read(text: str) -> timedelta:
    form = FORM.fullmatch(text)
    if form is None:
        raise ValueError(text)
    return int(form[1]) * UNITS[form[2]]
