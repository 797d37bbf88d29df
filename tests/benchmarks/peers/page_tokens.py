"""The page tokens of both peers: the key of the last row that was answered, by which the next page is found."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime

Key = tuple[datetime, int]
"""Of a trade: time and trade_id. Of a candle: start of its bucket and 0."""


def page_token(time: datetime, number: int) -> str:
    """The token of the page that follows the row with this key."""
    return urlsafe_b64encode(f"{time.isoformat()},{number}".encode()).decode()


def read_page_token(token: str) -> Key:
    """The key that a token was made of. Raises ValueError for what is none."""
    time, _, number = urlsafe_b64decode(token).decode().partition(",")
    return datetime.fromisoformat(time), int(number)
