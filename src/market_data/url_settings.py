"""Checks of settings that are URLs or paths of them."""

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

from market_data.errors import SettingsError

PATH_PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~@:+-]+)+")
"""Path without characters that need escaping in a URL, in a header or in HTML, and without empty or dotted segments."""


def path_prefix(text: str, name: str) -> str:
    """Return a path prefix without a trailing slash; empty for the root.

    Raises:
        SettingsError: It is not one. The message begins with the name of the setting.
    """
    prefix = text.rstrip("/")
    if prefix and not PATH_PREFIX.fullmatch(prefix):
        raise SettingsError(
            f"{name}={text!r}: expected a path such as /market-data: it begins with one slash, and has letters, digits or "
            "._~@:+- between slashes"
        )
    return prefix


def database_url(text: str, name: str = "DATABASE_URL") -> str:
    """Return the URL as libpq reads it, without SQLAlchemy's ``+psycopg``.

    Raises:
        SettingsError: It is not a PostgreSQL URL. The message does not repeat it, because it may contain a password.
    """
    url = re.sub(r"^postgresql\+psycopg://", "postgresql://", text)
    try:
        if not url.startswith(("postgresql://", "postgres://")):
            raise ValueError
        parts = conninfo_to_dict(url)
        if "@" in str(parts.get("host", "")) or re.search(r"[^\d,]", str(parts.get("port", ""))):
            raise ValueError  # probably a part of the password, which the connection's error message would show
    except (ValueError, psycopg.ProgrammingError):
        raise SettingsError(
            f"{name}: expected a URL such as postgresql://user:password@host:5432/database, "
            "with special characters of the password percent-encoded, such as %40"
        ) from None
    return url
