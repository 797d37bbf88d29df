"""Answers that are sent piece by piece, as they are read."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Send

from market_data.errors import DatabaseUnavailable, first_line

logger = logging.getLogger(__name__)


class Stream(ASGIResponse):
    """An answer of unknown length.

    One that can't be completed is broken off: it lacks the end that HTTP gives it, so that no client takes it for whole.
    """

    _should_set_content_length = False

    def __init__(
        self,
        pieces: AsyncGenerator[bytes],
        *,
        media_type: str,
        headers: Mapping[str, str],
        on_gone: Callable[[], None] | None = None,
    ) -> None:
        """`on_gone` is called when the client goes away, for pieces that may be long in coming."""
        super().__init__(media_type=media_type, headers=dict(headers))
        self.pieces = pieces
        self.on_gone = on_gone

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send piece after piece, as fast as the client takes them, for as long as it is there."""
        gone = asyncio.create_task(_disconnect(receive, self.on_gone))
        try:
            async with aclosing(self.pieces):
                async for piece in self.pieces:
                    if gone.done():
                        return
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except DatabaseUnavailable as error:
            logger.warning("an answer is broken off: %s", first_line(error))
        except asyncio.CancelledError:
            logger.warning("an answer is broken off: the service is stopping")
        except Exception:
            logger.exception("an answer is broken off")
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone


async def _disconnect(receive: Receive, on_gone: Callable[[], None] | None) -> None:
    """Wait until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    if on_gone:
        on_gone()
