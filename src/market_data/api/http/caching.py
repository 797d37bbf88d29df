"""Caching headers, and conditional requests."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from litestar import Request
from litestar.response.base import ASGIResponse

NO_STORE: Final = {"Cache-Control": "no-store"}
"""For responses that the next trade may change, and for errors."""
REVALIDATE: Final = {"Cache-Control": "no-cache"}
"""For responses that may be stored but must be revalidated: a late trade may have changed them."""
STATIC: Final = {"Cache-Control": "public, max-age=3600"}
"""For files that change with the service's version only."""
IMMUTABLE: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
"""For files whose path contains their hash, and for answers as of a version."""
PRIVATE_IMMUTABLE: Final = {"Cache-Control": "private, max-age=31536000, immutable"}
"""For answers as of a version to clients with a key."""

ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


def conditional_response(
    request: Request[Any, Any, Any], body: bytes, media_type: str, headers: Mapping[str, str]
) -> ASGIResponse:
    """Return a complete response that must be revalidated, or 304 if the client has it already."""
    tag = entity_tag(body)
    headers = {**headers, "Vary": "Accept", **REVALIDATE, "ETag": tag}
    if has_current(request, tag):
        return ASGIResponse(status_code=304, headers=headers)
    return ASGIResponse(body=body, media_type=media_type, headers=headers)


def entity_tag(content: bytes) -> str:
    """Return the entity tag of a content, or of what it depends on."""
    return f'"{blake2b(content, digest_size=16).hexdigest()}"'


def has_current(request: Request[Any, Any, Any], tag: str) -> bool:
    """Return True if `If-None-Match` names an entity tag."""
    tags = ",".join(request.headers.getall("if-none-match", []))
    # A weak comparison, as RFC 9110 requires: `W/` makes no difference.
    return tags.strip() == "*" or tag in ENTITY_TAG.findall(tags)


@lru_cache(16)
def cacheable(seconds: int, *, private: bool) -> str:
    """Return the `Cache-Control` of a response that changes seldom, and must then be renewed within some seconds.

    A cache may use it as it is for half of the time, and then while it revalidates it. Without any time, it must
    revalidate first. `private` keeps responses to clients with a key out of shared caches.
    """
    if not seconds:
        return "private, no-cache" if private else "no-cache"
    fresh = seconds - seconds // 2
    scope = "private" if private else "public"
    return f"{scope}, max-age={fresh}, stale-while-revalidate={seconds - fresh}"


def is_past(end: datetime) -> bool:
    """Return True if a time has passed, by this machine's clock."""
    return end <= datetime.now(end.tzinfo)
