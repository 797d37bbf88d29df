"""Responses that are sent piece by piece while they are read."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Send

from market_data.errors import DatabaseUnavailable, first_line

logger = logging.getLogger(__name__)


class StreamingResponse(ASGIResponse):
    """A response of unknown length.

    One that fails is aborted without HTTP's terminating chunk, so that no client takes it for complete.
    """

    _should_set_content_length = False

    def __init__(
        self,
        pieces: AsyncGenerator[bytes],
        *,
        media_type: str,
        headers: Mapping[str, str],
        on_disconnect: Callable[[], None] | None = None,
    ) -> None:
        """`on_disconnect` is called when the client disconnects, for pieces that may take long to come."""
        super().__init__(media_type=media_type, headers=dict(headers))
        self.pieces = pieces
        self.on_disconnect = on_disconnect

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send the pieces as fast as the client receives them, until it disconnects."""
        disconnected = asyncio.create_task(_wait_for_disconnect(receive, self.on_disconnect))
        try:
            async with aclosing(self.pieces):
                async for piece in self.pieces:
                    if disconnected.done():
                        return
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except DatabaseUnavailable as error:
            logger.warning("response aborted: %s", first_line(error))
        except asyncio.CancelledError:
            logger.warning("response aborted: the service is stopping")
        except Exception:
            logger.exception("response aborted")
        finally:
            disconnected.cancel()
            with suppress(asyncio.CancelledError):
                await disconnected


async def _wait_for_disconnect(receive: Receive, on_disconnect: Callable[[], None] | None) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if on_disconnect:
        on_disconnect()
