"""Client of the service's server-sent events. It resumes the stream after a lost connection."""

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import NamedTuple

import httpx
import msgspec

from market_data.cli.operate.service_client import error_detail, short_reason, unreachable
from market_data.errors import CommandFailed

SILENCE_SECONDS = 25
"""Time without data after which a connection is considered lost. The service sends a heartbeat every 10 s."""

MIN_PAUSE, MAX_PAUSE = 0.5, 10.0
"""Seconds before the first reconnection, and maximum before later ones."""


class Event(NamedTuple):
    """An event of the stream, or one of the client.

    The client's are `open` (connected), and with the reason as `data` `lost` (disconnected) and `refused` (the service
    responds, but not with a stream: rate limit, overload).
    """

    name: str
    data: str
    id: str = ""


class _Lost(Exception):
    """The connection is lost or temporarily refused."""

    def __init__(self, reason: str, name: str = "lost", retry_seconds: float = 0) -> None:
        super().__init__(reason)
        self.name = name
        self.retry_seconds = retry_seconds


class _Bye(msgspec.Struct):
    reason: str = "the service closed the stream"


def read_stream(client: httpx.Client, parameters: Mapping[str, str]) -> Iterator[Event]:
    """Read the events of `/stream` forever, resuming after a lost connection, or those of a replay up to its end.

    Raises:
        CommandFailed: The service does not respond to the first attempt, rejects the parameters, or interrupts a replay.
    """
    reached, last_id, pause = False, "", MIN_PAUSE
    while True:
        try:
            for event in _connect(client, parameters, last_id):
                reached = True
                if event.name != "open":
                    last_id, pause = event.id, MIN_PAUSE
                yield event
                if event.name == "end":
                    return
            lost = _Lost(_Bye().reason)
        except _Lost as error:
            lost = error
        except httpx.TransportError as error:
            if not reached:
                raise unreachable(client, error) from None
            silent = isinstance(error, httpx.ReadTimeout)
            lost = _Lost(f"no data for {SILENCE_SECONDS} s" if silent else short_reason(error))
        if "from" in parameters:
            raise CommandFailed(f"the replay was interrupted: {lost}")
        reached = True
        yield Event(lost.name, str(lost))
        time.sleep(
            max(lost.retry_seconds, pause * random.uniform(0.7, 1))
        )  # jitter, so that clients do not reconnect at the same time
        pause = min(2 * pause, MAX_PAUSE)


def _connect(client: httpx.Client, parameters: Mapping[str, str], last_id: str) -> Iterator[Event]:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
    timeout = httpx.Timeout(5, read=SILENCE_SECONDS)
    with client.stream("GET", "/stream", params=parameters, headers=headers, timeout=timeout) as response:
        _check(response)
        yield Event("open", "")
        for event in parse_events(response.iter_lines(), last_id):
            if event.name == "bye":
                raise _Lost(msgspec.json.decode(event.data, type=_Bye).reason)
            yield event


def _check(response: httpx.Response) -> None:
    if response.status_code == HTTPStatus.OK and response.headers.get("Content-Type", "").startswith("text/event-stream"):
        return
    response.read()
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        retry = response.headers.get("Retry-After", "")
        reason = f"{response.status_code} {response.reason_phrase}: {error_detail(response)}"
        raise _Lost(reason, "refused", int(retry) if retry.isdecimal() else 0)
    raise CommandFailed(error_detail(response))


def parse_events(lines: Iterable[str], last_id: str = "") -> Iterator[Event]:
    """Parse the lines of a stream. An id stays valid until the next one."""
    name, data = "message", list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "" if not line:
                if data:
                    yield Event(name, "\n".join(data), last_id)
                name, data = "message", []
            case "event":
                name = value
            case "data":
                data.append(value)
            case "id":
                last_id = value
            case _:
                pass  # a comment, or `retry`
