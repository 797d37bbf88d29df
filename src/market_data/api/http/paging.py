"""Page tokens for keyset paging: the next page begins right after the last row, even if rows arrived in between.

A token is opaque to clients: the key of the last row, and a fingerprint of it and of the parameters that it belongs to, so
that a changed token is rejected. It contains no secret and grants no access.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2s
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from msgspec import Meta

from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.queries.row_pages import RowKey

_Contents = tuple[bytes, Annotated[datetime, Meta(tz=True)], Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]]


def make_page_token(parameters: Sequence[object], last: RowKey) -> str:
    """Return the token of the page that follows the row with this key."""
    contents = msgspec.msgpack.encode((_fingerprint(parameters, last), *last))
    return urlsafe_b64encode(contents).rstrip(b"=").decode()


def read_page_token(token: str, parameters: Sequence[object]) -> RowKey:
    """Return the key in a token.

    Raises:
        BadParameters: The token was changed, or belongs to other parameters.
    """
    try:
        contents = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        _, time, number = msgspec.msgpack.decode(contents, type=_Contents)
    except (ValueError, msgspec.DecodeError):
        raise invalid_page_token("is not a page token; send next_page_token of the page before, unchanged") from None
    if token != make_page_token(parameters, (time, number)):
        raise invalid_page_token("was changed, or belongs to other parameters; between pages change no parameter but limit")
    return time, number


def invalid_page_token(detail: str) -> BadParameters:
    """Return the error for an invalid token."""
    return BadParameters([ParameterProblem("page_token", detail)])


def next_link(path: str, pairs: Sequence[tuple[str, str]], token: str) -> dict[str, str]:
    """Return the `Link` header of the next page."""
    query = urlencode([(name, value) for name, value in pairs if name != "page_token"] + [("page_token", token)])
    return {"Link": f'<{path}?{query}>; rel="next"'}


def _fingerprint(parameters: Sequence[object], key: RowKey) -> bytes:
    return blake2s(repr((*parameters, key[0].isoformat(), key[1])).encode(), digest_size=6).digest()
