"""A TCP proxy on loopback that can cut, refuse, stall and slow connections, and drop responses."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """A proxy between clients and a server; its methods may be called from any thread."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._refusing = False
        self._dropping = False
        self._stalling_text: bytes | None = None
        self._messages_until_cut = 0
        self._forwards_last = self._drops_next = False
        self._delay = 0.0
        self._seconds_a_byte = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.requests = 0
        """Packets that clients have sent."""

    def cut(self) -> None:
        """Abort all connections, and new ones at once."""
        self._refusing = True
        self._call(self._break)

    def stall(self) -> None:
        """Keep connections and accept new ones, but forward nothing."""
        self._call(self._flowing.clear)

    def stall_before(self, text: bytes) -> None:
        """Stall when a client sends a text, without forwarding it."""
        self._stalling_text = text

    def cut_at_message(self, number: int, *, forward: bool) -> None:
        """Abort all connections at a message of a client; with `forward`, the server executes it first.

        Counts what a client sends at once as one message, such as a statement.
        """
        self._messages_until_cut, self._forwards_last = number, forward

    @property
    def is_cut(self) -> bool:
        """True if `cut_at_message` has counted to its message."""
        return not self._messages_until_cut

    @property
    def is_stalled(self) -> bool:
        """True while nothing is forwarded."""
        return not self._flowing.is_set()

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._writers) // 2

    def slow(self, delay: float, bytes_a_second: float) -> None:
        """Forward everything with a delay in seconds and a limited rate."""
        self._delay, self._seconds_a_byte = delay, 1 / bytes_a_second

    def drop_responses(self) -> None:
        """Forward requests, which the server executes, but abort the connection instead of forwarding a response."""
        self._dropping = True

    def restore(self) -> None:
        """End all faults, and forward the data held back."""
        self._refusing = self._dropping = False
        self._delay = self._seconds_a_byte = 0.0
        self._call(self._flowing.set)

    def _call(self, function: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(function)

    def _break(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self._refusing:
                return
            try:
                far_reader, far_writer = await asyncio.open_connection(*self._target)
            except OSError:
                return  # the server is down
            self._writers.add(far_writer)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._forward(reader, far_writer))
                    both.create_task(self._forward(far_reader, writer, responses=True))
            finally:
                self._writers.discard(far_writer)
                far_writer.transport.abort()
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, responses: bool = False) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                self.requests += not responses
                if self._stalling_text and not responses and self._stalling_text in data:
                    self._stalling_text = None
                    self._flowing.clear()
                if self._messages_until_cut and not responses:
                    self._messages_until_cut -= 1
                    if not self._messages_until_cut:
                        if not self._forwards_last:
                            self._break()
                            break
                        self._drops_next = True
                await self._flowing.wait()
                if self._delay:
                    await asyncio.sleep(self._delay + len(data) * self._seconds_a_byte)
                if responses and (self._dropping or self._drops_next):
                    self._drops_next = False
                    writer.transport.abort()
                    break
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.close()

    async def _run(self, started: threading.Event, stopping: asyncio.Event) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._flowing.set()
        started.set()
        await stopping.wait()
        server.close()
        self._break()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    """Run a proxy within a `with` block."""
    proxy = Proxy(host, port)
    started, stopping = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=proxy._loop.run_until_complete, args=(proxy._run(started, stopping),))
    thread.start()
    assert started.wait(5)
    try:
        yield proxy
    finally:
        proxy._loop.call_soon_threadsafe(stopping.set)
        thread.join()
        proxy._loop.close()
