"""The intervals of candles."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import LiteralString

INTERVALS: Mapping[str, timedelta] = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
    "1w": timedelta(weeks=1),
}
"""Length of the buckets, by interval."""

WEEK_START = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday: buckets of all intervals are aligned to this time."""

# Hours instead of days: the session's time zone can't make them longer or shorter.
LENGTHS: Mapping[LiteralString, LiteralString] = {
    "1m": "1 minute",
    "5m": "5 minutes",
    "15m": "15 minutes",
    "30m": "30 minutes",
    "1h": "1 hour",
    "4h": "4 hours",
    "1d": "24 hours",
    "1w": "168 hours",
}
"""The same lengths as SQL intervals."""

LEVELS: Mapping[LiteralString, LiteralString] = dict(zip(LENGTHS, ("1", "2", "3", "4", "5", "6", "7", "8"), strict=True))
"""Levels of the intervals in `stale_ranges`."""
