"""The service's stream of server-sent events, resumed wherever it is lost."""

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import NamedTuple

import httpx
import msgspec

from market_data.cli.operate.service_client import complaint, reason_of, unanswered
from market_data.errors import CommandFailed

SILENCE_SECONDS = 25
"""After this a connection counts as dead: the service says something every 10 s."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds before the first attempt to connect again, and before later ones at the most."""


class Event(NamedTuple):
    """A message of the stream, or one of our own: `open`, the connection stands; `lost`, it is gone, `data` says why."""

    name: str
    data: str
    id: str = ""


class _Lost(Exception):
    """The connection is gone or refused for now; perhaps with the seconds that the service asks to be left alone."""

    def __init__(self, reason: str, seconds: float = 0) -> None:
        super().__init__(reason)
        self.seconds = seconds


class _Reason(msgspec.Struct):
    reason: str = "the service ended it"


def read_stream(client: httpx.Client, parameters: Mapping[str, str]) -> Iterator[Event]:
    """The events of `/stream`, for ever: after a loss from where it broke off.

    Raises:
        CommandFailed: Nothing answers at the first attempt, or the service refuses the parameters.
    """
    reached, last_id, pause = False, "", FIRST_PAUSE
    while True:
        try:
            for event in _connection(client, parameters, last_id):
                reached = True
                if event.name != "open":
                    last_id, pause = event.id, FIRST_PAUSE
                yield event
            lost = _Lost(_Reason().reason)
        except _Lost as error:
            lost = error
        except httpx.TransportError as error:
            if not reached:
                raise unanswered(client, error) from None
            silent = isinstance(error, httpx.ReadTimeout)
            lost = _Lost(f"silent for {SILENCE_SECONDS} s" if silent else reason_of(error))
        reached = True
        yield Event("lost", str(lost))
        time.sleep(max(lost.seconds, pause * random.uniform(0.7, 1)))  # so that not all come back at once
        pause = min(2 * pause, LONGEST_PAUSE)


def _connection(client: httpx.Client, parameters: Mapping[str, str], last_id: str) -> Iterator[Event]:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
    patience = httpx.Timeout(5, read=SILENCE_SECONDS)
    with client.stream("GET", "/stream", params=parameters, headers=headers, timeout=patience) as response:
        _check(response)
        yield Event("open", "")
        for event in parse(response.iter_lines(), last_id):
            if event.name == "bye":
                raise _Lost(msgspec.json.decode(event.data, type=_Reason).reason)
            yield event


def _check(response: httpx.Response) -> None:
    if response.status_code == HTTPStatus.OK and response.headers.get("Content-Type", "").startswith("text/event-stream"):
        return
    response.read()
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        asked = response.headers.get("Retry-After", "")
        raise _Lost(complaint(response), int(asked) if asked.isdecimal() else 0)
    raise CommandFailed(complaint(response))


def parse(lines: Iterable[str], last_id: str = "") -> Iterator[Event]:
    """The events that lines of a stream make; an id holds until the next one."""
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
