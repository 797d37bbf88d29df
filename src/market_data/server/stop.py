"""Time limits of a stop. Uvicorn ends what takes longer, and logs it as an error."""

from typing import Final

REQUESTS_STOP_SECONDS: Final = 4
"""Time at shutdown for requests in flight. With the feed (1 s), uses of keys, pools and traces (0.5 s each) and the embedded
engine (2.5 s), a stop takes less than 10 s."""

UNREAD_STOP_SECONDS: Final = 3.5
"""Time at shutdown after which requests are cancelled, and clients that do not read are disconnected."""

LINGER_STOP_SECONDS: Final = 0.3
"""Time for the 503 of a cancelled request to reach a client that is still sending."""
