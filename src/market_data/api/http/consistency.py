"""Read routing: to the database, or to a replica that has replayed the client's last write (read-your-writes)."""

from typing import Any

from litestar.connection import ASGIConnection

from market_data.api.http.caching import NO_STORE
from market_data.database.pool import Database
from market_data.database.replica import ReplicaReads
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.services import services_of

READ_AFTER = "X-Read-After"
WRITE_POSITION = "X-Write-Position"
MAX_POSITION = 2**63 - 1


def read_source(request: ASGIConnection[Any, Any, Any, Any]) -> Database | ReplicaReads:
    """Return the source of a request's reads: a replica that has replayed up to `X-Read-After`, or the database.

    Raises:
        BadParameters: The header is malformed.
    """
    services = services_of(request)
    if services.replica is None or request.scope["state"].get("reads_primary"):
        return services.database
    text = request.headers.get(READ_AFTER, "0")
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > MAX_POSITION:
        detail = f"must be the {WRITE_POSITION} of a response, not {text[:40]!r}"
        raise BadParameters([ParameterProblem(READ_AFTER, detail)])
    return services.replica.at_least(int(text))


def read_from_primary(request: ASGIConnection[Any, Any, Any, Any]) -> None:
    """Let the reads of a request go to the database, whatever a replica has."""
    request.scope["state"]["reads_primary"] = True


def write_headers(request: ASGIConnection[Any, Any, Any, Any]) -> dict[str, str]:
    """Return the headers of a write's response: with a replica, the position that it must replay to show the write."""
    position = services_of(request).database.last_write_lsn
    return {**NO_STORE, WRITE_POSITION: str(position)} if position else dict(NO_STORE)
