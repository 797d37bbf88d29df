"""Where requests read: in the database itself, or in a replica that has what the client has written before."""

from typing import Any

from litestar.connection import ASGIConnection

from market_data.api.http.caching import LIVE
from market_data.database.pool import Database
from market_data.database.replica import ReplicaReads
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.services import services_of

READ_AFTER = "X-Read-After"
WRITTEN = "X-Write-Position"
MOST_POSITION = 2**63


def reads(request: ASGIConnection[Any, Any, Any, Any]) -> Database | ReplicaReads:
    """Where the data that a request asks for is read: a replica, where there is one that is far enough, or the database.

    Raises:
        BadParameters: The header that says how far it must be can't be read.
    """
    services = services_of(request)
    if services.replica is None:
        return services.database
    text = request.headers.get(READ_AFTER, "0")
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) >= MOST_POSITION:
        raise BadParameters([ParameterProblem(READ_AFTER, f"must be what an answer had as {WRITTEN}, not {text[:40]!r}")])
    return services.replica.at_least(int(text))


def written(request: ASGIConnection[Any, Any, Any, Any]) -> dict[str, str]:
    """The headers of an answer that has stored something: with a replica, how far that must be to show it."""
    position = services_of(request).database.last_write_lsn
    return {**LIVE, WRITTEN: str(position)} if position else dict(LIVE)
