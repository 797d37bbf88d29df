"""Caching headers, and conditional requests."""

import re
from collections.abc import Mapping
from datetime import datetime
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

ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


def conditional_response(
    request: Request[Any, Any, Any], body: bytes, media_type: str, headers: Mapping[str, str], *, settled: bool
) -> ASGIResponse:
    """Return a complete response, or 304 if the client has it already. One that is not settled is never stored."""
    headers = {**headers, "Vary": "Accept"}
    if not settled:
        return ASGIResponse(body=body, media_type=media_type, headers=headers | NO_STORE)
    tag = f'"{blake2b(body, digest_size=16).hexdigest()}"'
    headers |= {**REVALIDATE, "ETag": tag}
    tags = ",".join(request.headers.getall("if-none-match", []))
    # A weak comparison, as RFC 9110 requires: `W/` makes no difference.
    if tags.strip() == "*" or tag in ENTITY_TAG.findall(tags):
        return ASGIResponse(status_code=304, headers=headers)
    return ASGIResponse(body=body, media_type=media_type, headers=headers)


def is_past(end: datetime) -> bool:
    """Return True if a time has passed, by this machine's clock."""
    return end <= datetime.now(end.tzinfo)
