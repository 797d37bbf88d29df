"""Page tokens of both peers: the key of the last row of a page."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime

Key = tuple[datetime, int]
"""Time and trade_id of a trade; start of the bucket and 0 of a candle."""


def page_token(time: datetime, number: int) -> str:
    """Return the token of the page after the row with this key."""
    return urlsafe_b64encode(f"{time.isoformat()},{number}".encode()).decode()


def read_page_token(token: str) -> Key:
    """Return the key in a token, or raise ValueError."""
    time, _, number = urlsafe_b64decode(token).decode().partition(",")
    return datetime.fromisoformat(time), int(number)
