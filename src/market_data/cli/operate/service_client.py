"""A running service, asked over HTTP."""

import logging
import os
from http import HTTPStatus

import httpx
import msgspec

from market_data import __version__
from market_data.errors import CommandFailed
from market_data.models import Problem

ANSWER_SECONDS = 10
"""How long an answer may take."""

KEY_VARIABLE = "MARKET_DATA_KEY"
"""The environment variable with the key for the service."""

DIRECT = ("all://127.0.0.1", "all://localhost", "all://[::1]")
"""Where a proxy that the environment names has no say."""


def open_client(url: str) -> httpx.Client:
    """A client of the service at a base URL, with the key that the environment has.

    Raises:
        CommandFailed: That can't be a key.
    """
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell every request
    headers = {"User-Agent": f"market-data/{__version__}"}
    if key := os.environ.get(KEY_VARIABLE, "").strip():
        if not key.isascii() or not key.isprintable():
            raise CommandFailed(f"{KEY_VARIABLE} is set to what can't be a key.")
        headers["Authorization"] = f"Bearer {key}"
    return httpx.Client(
        base_url=url,
        headers=headers,
        timeout=ANSWER_SECONDS,
        mounts=dict.fromkeys(DIRECT),
    )


def address(url: httpx.URL) -> str:
    """A URL to be shown: without a password."""
    return str(url.copy_with(userinfo=b"")).rstrip("/")


def reason_of(error: httpx.TransportError) -> str:
    """Why nothing was answered, in a few words."""
    match error:
        case httpx.TimeoutException():
            return "no answer in time"
        case _:
            return str(error).partition("] ")[2] or str(error) or type(error).__name__  # "[Errno 111] Connection refused"


def unanswered(client: httpx.Client, error: httpx.TransportError) -> CommandFailed:
    """What to tell where nothing answers."""
    return CommandFailed(
        f"Nothing answers at {address(client.base_url)} ({reason_of(error)}); start the service with `market-data serve`, "
        "or name another with --url or MARKET_DATA_URL."
    )


def complaint(response: httpx.Response) -> str:
    """What an answer that is no success says: the detail of its problem."""
    try:
        detail = msgspec.json.decode(response.content, type=Problem).detail
    except msgspec.DecodeError:
        return f"{address(response.url)} answers {response.status_code} {response.reason_phrase}; is that this service?"
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        said = "was refused" if KEY_VARIABLE in os.environ else "is not set"
        return f"{detail} {KEY_VARIABLE}, which this command takes it from, {said}."
    return detail
