"""The client of the stream: how it reads, notices a loss, and comes back."""

import json
import socket
import time
from itertools import islice

import pytest
from helpers.fake_service import PROBLEM, Reply, Scripted, scripted

from market_data.cli.operate import sse_client
from market_data.cli.operate.service_client import open_client
from market_data.cli.operate.sse_client import Event, parse, read_stream
from market_data.errors import CommandFailed


def message(name: str, number: int, **data: object) -> str:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"


def told(server: Scripted, count: int) -> list[Event]:
    """The first events of its stream of one symbol."""
    with open_client(server.url) as client:
        return list(islice(read_stream(client, {"symbols": "AAPL"}), count))


def problem(status: int, detail: str, **headers: str) -> Reply:
    body = json.dumps({"type": "about:blank", "title": "", "status": status, "detail": detail})
    return Reply(body, status, {**PROBLEM, **{name.replace("_", "-"): value for name, value in headers.items()}})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_client, "FIRST_PAUSE", 0.01)


def test_lines_make_events():
    lines = [
        ": a comment",
        "retry: 100",
        "id: 7",
        "event: trade",
        "data: {",
        "data:  }",
        "",
        "event: nothing",
        "",
        "data:x",
        "",
        "data: unfinished",
    ]
    assert list(parse(lines, "6")) == [Event("trade", "{\n }", "7"), Event("message", "x", "7")]


def test_a_stream_that_ends_is_resumed_after_its_last_event():
    with scripted(Reply(message("trade", 1) + message("trade", 2)), Reply(message("trade", 3), holds=True)) as server:
        names = [(event.name, event.id) for event in told(server, 6)]
    assert names == [("open", ""), ("trade", "1"), ("trade", "2"), ("lost", ""), ("open", ""), ("trade", "3")]
    assert server.asked == [("/stream?symbols=AAPL", None), ("/stream?symbols=AAPL", "2")]


def test_a_goodbye_is_a_loss_with_its_reason():
    goodbye = message("bye", 1, reason="the service is stopping")
    with scripted(Reply(goodbye, holds=True), Reply(message("trade", 2), holds=True)) as server:
        assert told(server, 4)[1:3] == [Event("lost", "the service is stopping"), Event("open", "")]


def test_a_silent_connection_counts_as_lost(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse_client, "SILENCE_SECONDS", 0.3)
    with scripted(Reply(message("trade", 1), holds=True), Reply(message("trade", 2), holds=True)) as server:
        assert [event.name for event in told(server, 5)] == ["open", "trade", "lost", "open", "trade"]
    assert server.asked[1][1] == "1"


def test_a_service_that_is_not_ready_is_asked_again_when_it_said():
    with scripted(problem(503, "Too busy.", Retry_After="1"), Reply(message("trade", 1), holds=True)) as server:
        started = time.monotonic()
        assert told(server, 3) == [Event("lost", "Too busy."), Event("open", ""), Event("trade", "{}", "1")]
    assert time.monotonic() - started >= 1


def test_what_the_service_refuses_ends_it_with_the_reason():
    with scripted(problem(404, "There is no symbol AAPL.")) as server, pytest.raises(CommandFailed, match="no symbol AAPL"):
        told(server, 1)


def test_something_else_that_answers_is_told_from_the_service():
    with (
        scripted(Reply("<html>", headers={"Content-Type": "text/html"})) as server,
        pytest.raises(CommandFailed, match="is that this service"),
    ):
        told(server, 1)


def test_nothing_that_answers_at_first_ends_it_with_the_remedy():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with open_client(url) as client, pytest.raises(CommandFailed, match=f"{url} .*refused.*market-data serve.*--url"):
            next(read_stream(client, {}))


def test_a_service_that_goes_away_later_is_asked_again_and_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse_client, "LONGEST_PAUSE", 0.02)
    with scripted(Reply(message("trade", 1))) as server, open_client(server.url) as client:
        stream = read_stream(client, {})
        assert [next(stream).name for _ in range(3)] == ["open", "trade", "lost"]
        server.server_close()
        assert [next(stream).name for _ in range(3)] == ["lost", "lost", "lost"]


def test_on_this_machine_a_proxy_of_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with scripted(Reply(message("trade", 1), holds=True)) as server:
        assert told(server, 1) == [Event("open", "")]
