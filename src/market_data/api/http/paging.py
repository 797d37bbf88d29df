"""Page tokens for keyset paging: the next page begins right after the last row, even if rows arrived in between.

A token is opaque to clients: where the next page begins, and a fingerprint of this and of the parameters that it belongs to,
so that a changed token is rejected. It contains no secret and grants no access.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2s
from typing import Annotated, NamedTuple
from urllib.parse import urlencode

import msgspec
from msgspec import Meta

from market_data.errors import BadParameters
from market_data.models import ParameterProblem

_Time = Annotated[datetime, Meta(tz=True)]
_Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class PageStart(NamedTuple):
    """Keys after which a page begins, and its range, whose bounds may be relative to the time of the first request."""

    keys: Sequence[tuple[int, _Time | None, _Number]]
    """Positions of symbols in the list of the request, each with the key of its last row before the page, if it has one."""
    start: _Time | None = None
    end: _Time | None = None
    version: _Number | None = None
    """Version that a relative `as_of` named at the first request."""


_decode = msgspec.msgpack.Decoder(tuple[bytes, PageStart]).decode


def make_page_token(parameters: Sequence[object], page: PageStart) -> str:
    """Return the token of a page."""
    contents = msgspec.msgpack.encode((_fingerprint(parameters, page), page))
    return urlsafe_b64encode(contents).rstrip(b"=").decode()


def read_page_token(token: str, parameters: Sequence[object]) -> PageStart:
    """Return where the page of a token begins.

    Raises:
        BadParameters: The token is malformed, changed, or belongs to other parameters.
    """
    page = _page_of(token)
    if page is None:
        raise invalid_page_token("is not a page token; send next_page_token of the page before, unchanged")
    if token != make_page_token(parameters, page):
        raise invalid_page_token("was changed, or belongs to other parameters; between pages change no parameter but limit")
    return page


def version_of_page(token: str) -> int | None:
    """Return the version of a token, before it is known that it belongs to the request; None if it has none."""
    page = _page_of(token)
    return page and page.version


def invalid_page_token(detail: str) -> BadParameters:
    """Return the error for an invalid token."""
    return BadParameters([ParameterProblem("page_token", detail)])


def _page_of(token: str) -> PageStart | None:
    try:
        _, page = _decode(urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4)))
    except (ValueError, msgspec.DecodeError):
        return None
    return page


def next_link(path: str, pairs: Sequence[tuple[str, str]], token: str) -> dict[str, str]:
    """Return the `Link` header of the next page."""
    query = urlencode([(name, value) for name, value in pairs if name != "page_token"] + [("page_token", token)])
    return {"Link": f'<{path}?{query}>; rel="next"'}


def _fingerprint(parameters: Sequence[object], page: PageStart) -> bytes:
    return blake2s(repr((*parameters, msgspec.msgpack.encode(page))).encode(), digest_size=6).digest()
