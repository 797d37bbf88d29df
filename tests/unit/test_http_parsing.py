"""Random requests in random packets: the application gets exactly the requests that were sent (no request smuggling)."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, cast

import pytest
import uvicorn
from helpers.noise import damaged, steady
from helpers.raw_http import request, statuses
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from market_data.server.http_protocol import MAX_HEADER_BYTES, HttpProtocol
from market_data.server.websocket_protocol import WebSocketProtocol


class Transport(asyncio.Transport):
    """Transport that records, and that delivers nothing while the protocol has paused it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("::ffff:192.0.2.7", 50_000)})
        self.written = b""
        self.is_closed = False
        self.readable = asyncio.Event()
        self.readable.set()

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    abort = write_eof = close

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.readable.clear()

    def resume_reading(self) -> None:
        self.readable.set()

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class Application:
    """Application that records the requests whose bodies are complete."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                self.seen.append((scope["path"], body))
                break
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def serve(packets: Sequence[bytes]) -> tuple[list[tuple[str, bytes]], bytes]:
    """Return the requests that an application gets, and the responses."""
    application, transport = Application(), Transport()

    async def run() -> None:
        config = uvicorn.Config(cast("Any", application), log_config=None, lifespan="off", ws=WebSocketProtocol)
        config.load()
        transport.set_protocol(HttpProtocol(config, ServerState(), {}))
        transport.protocol.connection_made(transport)
        for packet in packets:
            await transport.readable.wait()
            if not transport.is_closed:
                transport.protocol.data_received(packet)
        for _ in range(200):
            await asyncio.sleep(0)
        transport.protocol.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(run())
    return application.seen, transport.written


INNER = request("/inner")
BODIES = st.sampled_from([b"", b"x", INNER, INNER * 3, b"0\r\n\r\n" + INNER, b"\r\n" * 9]) | st.binary(max_size=40)
UPGRADES = ["h2c", "websocket, h2c", "Foo/9", "websocket"]


@st.composite
def messages(draw: st.DrawFn) -> tuple[tuple[str, bytes], bytes]:
    """Return a request as the application should see it, and its bytes."""
    path, body = draw(st.sampled_from(["/a", "/b", "/inner"])), draw(BODIES)
    headers = [f"Connection: {draw(st.sampled_from(['Upgrade', 'upgrade, HTTP2-Settings', 'keep-alive']))}"]
    # With a body, no upgrade is a handshake of a WebSocket.
    headers += [f"Upgrade: {draw(st.sampled_from(UPGRADES if body else UPGRADES[:-1]))}"] if draw(st.booleans()) else []
    if not body or draw(st.booleans()):
        return (path, body), request(path, body, *headers)
    cut = draw(st.integers(1, len(body)))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (body[:cut], body[cut:]) if chunk)
    return (path, body), request(path, b"", *headers, "Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n"


@st.composite
def split(draw: st.DrawFn, data: bytes) -> list[bytes]:
    ends = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    packets = [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]
    return [packet for packet in packets if packet]


@steady
@given(st.data(), st.lists(messages(), min_size=1, max_size=5))
def test_the_application_gets_the_requests_that_were_sent(data: st.DataObject, sent: list[tuple[tuple[str, bytes], bytes]]):
    seen, written = serve(data.draw(split(b"".join(each for _, each in sent))))
    assert seen == [expected for expected, _ in sent]
    assert statuses(written) == [200] * len(sent)


@steady
@given(st.data(), st.lists(messages(), min_size=1, max_size=3))
def test_damaged_requests_get_the_same_however_they_are_split(
    data: st.DataObject, sent: list[tuple[tuple[str, bytes], bytes]]
):
    stream = data.draw(damaged(b"".join(each for _, each in sent)))
    whole, split_up = serve([stream]), serve(data.draw(split(stream)))
    assert split_up[0] == whole[0]
    assert set(statuses(whole[1])) <= {200, 400}


def test_the_end_of_a_body_does_not_count_as_headers():
    body, first, second = b"x" * (MAX_HEADER_BYTES + 9), request("/a", b"y"), request("/b")
    for sent in (request("/a", body), first + request("/a", body)):
        head = sent.removesuffix(body)
        seen, written = serve([head, body + second[:5], second[5:]])
        assert seen[-2:] == [("/a", body), ("/b", b"")]
        assert set(statuses(written)) == {200}


def test_an_ipv4_address_is_logged_as_such(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    assert statuses(serve([b"invalid\r\n\r\n"])[1]) == [400]
    assert "invalid request from 192.0.2.7: " in caplog.text
