"""The replay of tardis-machine at `/tardis/ws-replay-normalized`, which NautilusTrader reads."""

from typing import Final

import msgspec
from litestar.openapi.spec import Tag

from market_data.api.compat.protocol import Protocol
from market_data.api.compat.tardis.replay import tardis_replay
from market_data.api.http.dialects import Dialect


def error_body(error: Exception, status: int, detail: str) -> bytes:
    """Return the body of an error: that of a refused handshake, too."""
    return msgspec.json.encode({"code": status, "message": detail})


TARDIS: Final = Protocol(
    "tardis",
    Tag(
        "Tardis",
        "The normalized replay of tardis-machine, a WebSocket at `/tardis/ws-replay-normalized` with the parameter "
        "`options`: trades in the order of their times, and bars once they have ended. Errors refuse the handshake, with "
        '`{"code": …, "message": …}`. A key goes into the path, as in `/tardis/<key>`.',
    ),
    Dialect(("/tardis",), error_body, has_key_in_path=True),
    {"tardis_machine": "ws:/tardis"},
    (tardis_replay,),
)
