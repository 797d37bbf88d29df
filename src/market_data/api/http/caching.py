"""What clients and proxies may keep of an answer, and how they ask whether it still holds."""

import re
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from litestar import Request
from litestar.response.base import ASGIResponse

LIVE: Final = {"Cache-Control": "no-store"}
"""For what the next trade changes, and for errors."""
ASK_AGAIN: Final = {"Cache-Control": "no-cache"}
"""May be kept, but is only to be used once the service has been asked: a late trade may have revised it."""
STATIC: Final = {"Cache-Control": "public, max-age=3600"}
"""For what changes with the service's version."""

ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


def conditional(
    request: Request[Any, Any, Any], body: bytes, media_type: str, headers: Mapping[str, str], *, settled: bool
) -> ASGIResponse:
    """A whole answer; 304 in its place where the client has it already. One that is not settled is never kept."""
    varied = {**headers, "Vary": "Accept"}
    if not settled:
        return ASGIResponse(body=body, media_type=media_type, headers=varied | LIVE)
    tag = f'"{blake2b(body, digest_size=16).hexdigest()}"'
    varied |= {**ASK_AGAIN, "ETag": tag}
    asked = ",".join(request.headers.getall("if-none-match", []))
    # Compared weakly, as RFC 9110 has it: `W/` makes no difference.
    if asked.strip() == "*" or tag in ENTITY_TAG.findall(asked):
        return ASGIResponse(status_code=304, headers=varied)
    return ASGIResponse(body=body, media_type=media_type, headers=varied)


def is_past(end: datetime) -> bool:
    """Whether a time has come, by this machine's clock."""
    return end <= datetime.now(end.tzinfo)
