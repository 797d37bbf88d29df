"""Page tokens: where an answer was cut, so that the next one begins right behind it, whatever arrived in between.

A token is opaque to clients: the key of the last row that was answered, and a fingerprint of it and of the parameters
that it belongs to, so that one that was changed on its way is refused. It is no secret, and grants nothing.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2s
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from msgspec import Meta

from market_data.queries.row_pages import RowKey

_Contents = tuple[bytes, Annotated[datetime, Meta(tz=True)], Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]]


def page_token(parameters: Sequence[object], last: RowKey) -> str:
    """The token of the page that follows the row with this key."""
    contents = msgspec.msgpack.encode((_fingerprint(parameters, last), *last))
    return urlsafe_b64encode(contents).rstrip(b"=").decode()


def read_page_token(token: str, parameters: Sequence[object]) -> RowKey:
    """The key that a token was made of.

    Raises:
        ValueError: It was not made here, or for other parameters.
    """
    try:
        contents = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        _, time, number = msgspec.msgpack.decode(contents, type=_Contents)
    except (ValueError, msgspec.DecodeError):
        raise ValueError("is no page token; give next_page_token of the answer before, unchanged") from None
    if token != page_token(parameters, (time, number)):
        raise ValueError("was changed, or belongs to other parameters; between the pages of an answer change none but limit")
    return time, number


def next_link(path: str, pairs: Sequence[tuple[str, str]], token: str | None) -> dict[str, str]:
    """The headers that lead to the next page of an answer; none where it was the last."""
    if token is None:
        return {}
    query = urlencode([(name, value) for name, value in pairs if name != "page_token"] + [("page_token", token)])
    return {"Link": f'<{path}?{query}>; rel="next"'}


def _fingerprint(parameters: Sequence[object], key: RowKey) -> bytes:
    return blake2s(repr((*parameters, key[0].isoformat(), key[1])).encode(), digest_size=6).digest()
