"""Errors outside of tools, such as a missing key, as JSON-RPC has them: clients show the message of no other body."""

from typing import Final

import msgspec

from market_data.api.http.dialects import Dialect

CODES: Final = {400: -32600, 404: -32601, 405: -32601, 413: -32600, 415: -32600, 500: -32603}
"""Code of JSON-RPC, by status."""
SERVER_ERROR: Final = -32000


def error_body(error: Exception, status: int, detail: str) -> bytes:
    """Return an error without the id of a request, which may not have been read."""
    code = CODES.get(status, SERVER_ERROR)
    return msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": detail}})


DIALECT: Final = Dialect(("/mcp",), error_body)
