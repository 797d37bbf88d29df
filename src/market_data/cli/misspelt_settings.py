"""Warnings about environment variables that are probably misspelt settings."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final

import msgspec

from market_data.settings import SECRETS, Settings

SETTINGS: Final = [field.encode_name for field in msgspec.structs.fields(Settings)]
KNOWN: Final = {*SETTINGS, *(f"{name}_FILE" for name in (*SECRETS, "MARKET_DATA_KEY")), "MARKET_DATA_KEY", "MARKET_DATA_URL"}

PREFIX: Final = "MARKET_DATA_"

MIN_SIMILARITY: Final = 0.885
"""Minimum ratio of `difflib`: one wrong character of nine, two of eighteen. `DATABASE_USER`, a variable of many programs, is
0.88 similar to `DATABASE_URL`."""

MIN_LENGTH: Final = 6
"""Shorter names are similar to too many others."""

SERVICE_LINK: Final = re.compile(r"(tcp|udp|sctp)://")
"""Beginning of a value that Docker or Kubernetes sets, such as `MARKET_DATA_PORT` for a service named `market-data`."""


def find_misspelt(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the variables that are set and no settings, each with the setting that is probably meant."""
    for name, value in environment.items():
        if name in KNOWN or not value.strip() or SERVICE_LINK.match(value):
            continue
        capitals = name.upper()
        meant = next((each for each in (capitals, capitals.removeprefix(PREFIX)) if each in KNOWN), None)
        if meant is None and len(name) >= MIN_LENGTH:
            meant = next(iter(get_close_matches(capitals, KNOWN, 1, MIN_SIMILARITY)), None)
        if meant:
            yield name, meant
