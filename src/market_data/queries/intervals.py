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
"""The candles that can be asked for, and the length of their buckets."""

WEEK_START = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday; at its beginning, as far back and on as one likes, a bucket of each interval begins."""

# In hours, not in days: whatever the session's time zone, no day of these is longer than another.
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
"""The same, as SQL has it."""
