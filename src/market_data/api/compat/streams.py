"""WebSockets of foreign protocols. Each client follows the hub as one of `/ws` does, and its events are translated."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, ClassVar, Final

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from market_data.api.compat.events import ByeEvent, decode_event
from market_data.api.compat.names import asked_names
from market_data.api.http.problems import POLICY_VIOLATION, send_problem, status_of
from market_data.api.http.websocket_messages import RETRYABLE, TRY_AGAIN_LATER
from market_data.api.stream import hub_of, key_id_of
from market_data.auth.api_keys import parse_prefix, require_scope
from market_data.errors import DatabaseUnavailable, MarketDataError, Stopping, TooManyRequests
from market_data.names import NO_NAMES
from market_data.services import services_of
from market_data.streaming.clients import Client
from market_data.streaming.disconnections import STOPPING
from market_data.streaming.events import Message
from market_data.streaming.subscriptions import Subscription
from market_data.tasks import cancel_and_wait

logger = logging.getLogger(__name__)

Frame = str | bytes
"""A message, which is sent as text or as binary."""

SERVICE_RESTART: Final = 1012
"""Close code when the service stops: another replica, or the next start, serves the same."""

AUTHENTICATION_SECONDS: Final = 10.0
"""Time for the key of a client that has not sent one yet, where reading needs one."""

REFUSED: Final = "The service is stopping; connect again in a moment."

BYE: Final = b'{"event":"bye"'


class StreamEnded(Exception):
    """Ends a stream after some last messages."""

    def __init__(self, frames: Sequence[Frame] = (), code: int = POLICY_VIOLATION) -> None:
        super().__init__(code)
        self.frames = frames
        self.code = code


class Conversation(ABC):
    """One connection as its protocol sees it. Subclasses answer its messages and translate events; `serve` does the rest."""

    tick_seconds: ClassVar[float | None] = None
    """Time between two calls of `tick`; None for none."""

    def __init__(self, socket: WebSocket[Any, Any, Any]) -> None:
        self.socket = socket
        self.client = Client("websocket", Subscription(), key_id_of(socket))
        self._shown: Mapping[str, str] = {}
        """Former names that the client has subscribed to, by the present ones."""
        self._required = services_of(socket).settings.auth == "required"

    @property
    def is_authenticated(self) -> bool:
        """True if the client may read."""
        return not self._required or self.client.key_id is not None

    async def authenticate(self, secret: str) -> None:
        """Check a key that a message brought. Without AUTH=required, a text that is none of this service's keys will do.

        Raises:
            Unauthorized: It is wrong.
            Forbidden: It lacks the scope.
        """
        if not self._required and parse_prefix(secret) is None:
            return
        key = await services_of(self.socket).api_keys.authenticate(secret)
        require_scope(key, "read")
        self.socket.scope["state"]["key"] = key
        self.client.key_id = key.id

    def subscribe(self, subscription: Subscription) -> None:
        """Replace the subscription. Events show the names in it."""
        names = services_of(self.socket).names
        asked = {name for _, some in subscription.items for name in some or ()} if names else ()
        by_key = asked_names(names, asked)
        self._shown = {names.name_of(key): name for key, name in by_key.items() if names.name_of(key) != name}
        hub_of(self.socket).subscribe(self.client, subscription.renamed(names.key_of) if names else subscription)

    def shown_name(self, key: str) -> str:
        """Return the name by which the client knows the symbol with a key."""
        present = services_of(self.socket).names.name_of(key)
        return self._shown.get(present, present)

    def named(self, text: bytes) -> bytes:
        """Return an event with the name by which the client has subscribed to its symbol."""
        return NO_NAMES.rename_json(text.decode(), self._shown).encode() if self._shown else text

    async def send(self, frames: Sequence[Frame]) -> None:
        """Send messages to the client."""
        for frame in frames:
            if isinstance(frame, str):
                await self.socket.send_text(frame)
            else:
                await self.socket.send_bytes(frame)

    def greet(self) -> Sequence[Frame]:
        """Return the messages that begin the conversation."""
        return ()

    @abstractmethod
    async def receive(self, message: Frame) -> Sequence[Frame]:
        """Execute a message of the client, and return the replies.

        Raises:
            MarketDataError: It can't be executed (`explain`).
            StreamEnded: It ends the stream.
        """

    @abstractmethod
    async def translate(self, messages: Sequence[bytes]) -> Sequence[Frame]:
        """Return a batch of messages of the hub (`decode_event`) in the protocol."""

    @abstractmethod
    def explain(self, error: MarketDataError) -> Sequence[Frame]:
        """Return the message of an error."""

    def time_out(self) -> Sequence[Frame]:
        """Return the messages for a client that has not sent its key in time."""
        return ()

    async def tick(self) -> Sequence[Frame]:
        """Return messages that are due by time."""
        return ()

    def say_goodbye(self, reason: str) -> Sequence[Frame]:
        """Return the messages before the end, for a reason of `streaming.disconnections`, or a client that is too slow."""
        return ()


async def serve(socket: WebSocket[Any, Any, Any], begin: Callable[[WebSocket[Any, Any, Any]], Conversation]) -> None:
    """Accept a connection, and hold its conversation until the end.

    While the service stops, the handshake is refused: clients then wait before the next attempt, but return at once, and
    often only a few times, after a connection that has been open.
    """
    if hub_of(socket).clients.stopping:
        await send_problem(socket.scope, socket.send, Stopping(REFUSED))
        return
    await socket.accept()
    conversation = begin(socket)
    tasks: list[asyncio.Task[None]] = []
    ended = StreamEnded(code=TRY_AGAIN_LATER)
    try:
        await hub_of(socket).wait_until_ready()
        await conversation.send(conversation.greet())
        tasks.append(asyncio.create_task(_follow(conversation)))
        if conversation.tick_seconds:
            tasks.append(asyncio.create_task(_tick(conversation, conversation.tick_seconds)))
        await _listen(conversation)
    except StreamEnded as end:
        ended = end
    except MarketDataError as error:
        ended = StreamEnded(conversation.explain(error), _code_of(error))
    except (WebSocketDisconnect, OSError):
        return
    finally:
        conversation.client.close()
        await cancel_and_wait(*tasks)
    await _close(conversation, ended)


async def _listen(conversation: Conversation) -> None:
    """Execute the messages of the client.

    Raises:
        StreamEnded: The conversation has ended.
        TooManyRequests: The client has used up its rate limit.
        WebSocketDisconnect: The client has disconnected.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + AUTHENTICATION_SECONDS
    while True:
        try:
            async with asyncio.timeout_at(None if conversation.is_authenticated else deadline):
                frame = await _receive(conversation.socket)
        except TimeoutError:
            raise StreamEnded(conversation.time_out()) from None
        try:
            replies = await conversation.receive(frame)
        except TooManyRequests:
            raise
        except MarketDataError as error:
            replies = conversation.explain(error)
        await conversation.send(replies)


async def _receive(socket: WebSocket[Any, Any, Any]) -> Frame:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(detail="the client has disconnected", code=message["code"])
    text = message.get("text")
    return text if text is not None else message.get("bytes") or b""


async def _follow(conversation: Conversation) -> None:
    """Send the events of the hub, and close the connection after the last."""
    client = conversation.client
    messages: AsyncGenerator[list[Message]] = hub_of(conversation.socket).messages(client)
    reason = ""
    frames: Sequence[Frame] = ()
    try:
        async with aclosing(messages):
            async for batch in messages:
                texts = [conversation.named(message.text) for message in batch]
                if texts[-1].startswith(BYE):
                    bye = decode_event(texts.pop())
                    reason = bye.data.reason if isinstance(bye, ByeEvent) else ""
                await conversation.send(await conversation.translate(texts))
    except DatabaseUnavailable as error:
        logger.warning("stream aborted: %s", error)
    except (OSError, RuntimeError):
        return  # the client has disconnected
    except Exception:
        logger.exception("stream aborted")
    if reason:
        frames = conversation.say_goodbye(reason)
    code = SERVICE_RESTART if reason == STOPPING else TRY_AGAIN_LATER if client.reconnectable else POLICY_VIOLATION
    await _close(conversation, StreamEnded(frames, code))


async def _tick(conversation: Conversation, seconds: float) -> None:
    """Send what is due by time. Without the database, it is sent once that is back."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await conversation.send(await conversation.tick())
        except DatabaseUnavailable:
            continue
        except (OSError, RuntimeError):
            return  # the client has disconnected
        except Exception:
            logger.exception("messages by time failed")


async def _close(conversation: Conversation, end: StreamEnded) -> None:
    with suppress(OSError, RuntimeError):  # the client may have disconnected
        await conversation.send(end.frames)
        await conversation.socket.close(end.code)


def _code_of(error: MarketDataError) -> int:
    return TRY_AGAIN_LATER if status_of(error) in RETRYABLE else POLICY_VIOLATION
