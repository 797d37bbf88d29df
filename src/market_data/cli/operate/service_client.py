"""HTTP client of a running service, for `watch` and `status`."""

import argparse
import logging
import os
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
import msgspec

from market_data import __version__
from market_data.errors import CommandFailed
from market_data.models import Problem
from market_data.settings import read_secret

TIMEOUT_SECONDS = 10

DEFAULT_URL = "http://127.0.0.1:8000"

KEY_VARIABLE = "MARKET_DATA_KEY"
"""Environment variable with the API key; with `_FILE`, the one with the name of a file that contains it."""

NO_PROXY = ("all://127.0.0.1", "all://localhost", "all://[::1]")
"""Addresses that are never reached through a proxy from the environment."""


def add_url_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--url` to a command."""
    parser.add_argument(
        "--url",
        type=_read_url,
        default=os.environ.get("MARKET_DATA_URL", "").strip() or DEFAULT_URL,
        help=f"URL of the service (default: MARKET_DATA_URL, else {DEFAULT_URL}); an API key is read from {KEY_VARIABLE}",
    )


def _read_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        if parts.scheme in {"http", "https"} and parts.port != 0 and text.isprintable() and " " not in text:
            (parts.hostname or "").encode("idna")  # as the connection does later
            if parts.hostname:
                return text.rstrip("/")
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not the URL of a service; give one such as {DEFAULT_URL}")


def open_client(url: str) -> httpx.Client:
    """Return a client for a base URL, with the API key of the environment.

    Raises:
        CommandFailed: The key has characters that no key has.
        SettingsError: The file with the key can't be read.
    """
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log every request
    headers = {"User-Agent": f"market-data/{__version__}"}
    if key := read_secret(KEY_VARIABLE, os.environ):
        if not key.isascii() or not key.isprintable():
            raise CommandFailed(f"{KEY_VARIABLE} is not an API key: it has characters other than printable ASCII.")
        headers["X-API-Key"] = key  # `Authorization` has the user and password of the URL, which are for a proxy
    return httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS, mounts=dict.fromkeys(NO_PROXY))


def display_url(url: httpx.URL) -> str:
    """Return a URL without its password."""
    return str(url.copy_with(userinfo=b"")).rstrip("/")


def short_reason(error: httpx.TransportError) -> str:
    """Return why there is no response, in a few words."""
    if isinstance(error, httpx.TimeoutException):
        return "no response in time"
    return str(error).partition("] ")[2] or str(error) or type(error).__name__  # "[Errno 111] Connection refused"


def unreachable(client: httpx.Client, error: httpx.TransportError) -> CommandFailed:
    """Return the error for a service that does not respond."""
    return CommandFailed(
        f"No service responds at {display_url(client.base_url)} ({short_reason(error)}); start one with "
        "`market-data serve`, or set another address with --url or MARKET_DATA_URL."
    )


def error_detail(response: httpx.Response) -> str:
    """Return the detail of a problem response, and a hint about the API key if it is a 401."""
    try:
        detail = msgspec.json.decode(response.content, type=Problem).detail
    except msgspec.DecodeError:
        return (
            f"{display_url(response.url)} responds with {response.status_code} {response.reason_phrase}, which is not a "
            "response of this service; check --url or MARKET_DATA_URL."
        )
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        state = "was rejected" if read_secret(KEY_VARIABLE, os.environ) else "is not set"
        return f"{detail} This command reads the API key from {KEY_VARIABLE}, which {state}."
    return detail
