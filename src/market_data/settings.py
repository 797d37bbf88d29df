"""Settings, read once from the environment.

Each field is an environment variable of the same name in capitals; an empty variable counts as not set.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
import platformdirs
import psycopg
from msgspec import Meta, Struct
from psycopg.conninfo import conninfo_to_dict

from market_data.errors import SettingsError

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Auth = Literal["open", "required"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
PATH_PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~@:+-]+)+")
"""Path without characters that need escaping in a URL, in a header or in HTML, and without empty or dotted segments."""
MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""IPv4 addresses in the form in which an IPv6 socket shows them."""
Seconds = Annotated[float, Meta(ge=0.05, le=3600)]


class Settings(Struct, frozen=True, kw_only=True, rename="upper"):
    """Settings of one process. Times are in seconds."""

    database_url: str | None = None
    """A TimescaleDB server, as a ``postgresql://`` URL; None for the embedded engine."""
    database_direct_url: str | None = None
    """URL of the same server without PgBouncer if `database_url` goes through it: for LISTEN, migrations and commands."""
    database_read_url: str | None = None
    """Streaming replica of that server, for reads."""
    market_data_home: str = ""
    """Folder of the embedded engine's data; if empty, the user's data directory."""
    embedded_port: Annotated[int, Meta(ge=0, le=65535)] = 54320
    """Port of the embedded engine on loopback; if it is in use, another one."""
    docs_assets: str = ""
    """Folder with the scripts of `/dashboard`, `/docs` and `/redoc` in npm's layout; if empty, they are installed by npm."""
    log_level: LogLevel = "INFO"
    auth: Auth = "open"
    """`required` if reads need an API key, too; writes always do."""
    rate_limit: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Requests of an API key, or of an address without one, within `rate_limit_seconds`; 0 for no limit."""
    rate_limit_seconds: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """Period of `rate_limit`."""
    max_body_bytes: Annotated[int, Meta(ge=1000, le=1_000_000_000)] = 5_000_000
    """Maximum size of a request body; a larger one is answered 413."""
    request_timeout_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    """Time until the response of a request must begin; after that it is answered 503."""
    keep_alive_seconds: Annotated[int, Meta(ge=1, le=3600)] = 75
    """Time after which an idle connection is closed: longer than a proxy in front keeps it, often 60."""
    cors_origins: str = ""
    """Comma-separated origins whose pages may read responses (CORS); `*` for all, empty for none."""
    trusted_proxies: str = ""
    """Comma-separated addresses and networks whose `X-Forwarded-…` headers are trusted."""
    root_path: str = ""
    """Path prefix under which a proxy shows the service, such as `/md`; a trusted `X-Forwarded-Prefix` takes precedence."""
    future_tolerance_seconds: Annotated[float, Meta(ge=0, le=86400)] = 60.0
    """Maximum time of a trade in the future, if it is written over HTTP or imported."""
    feed_enabled: bool = True
    ingestion_interval_seconds: Seconds = 3.0
    """Time between two trades of a symbol."""
    feed_seed: int | None = None
    """Seed of the random walk, for repeatable trades."""
    feed_lease_seconds: Annotated[float, Meta(ge=1, le=60)] = 5.0
    """Time after which another process takes over from a feed that no longer responds."""
    pool_size: Annotated[int, Meta(ge=1, le=100)] = 4
    """Connections of each worker to the database."""
    pool_timeout_seconds: Seconds = 2.0
    """Time that a request waits for a free connection before it is answered 503."""
    pool_max_waiting: Annotated[int, Meta(ge=1, le=10000)] = 200
    """Requests that may wait for a connection; further ones are answered 503 at once."""
    query_timeout_seconds: Seconds = 5.0
    """Time that a request waits for the database's result before it is answered 503."""
    database_start_timeout_seconds: Annotated[float, Meta(ge=0, le=3600)] = 60.0
    """Time that the start waits for a server that is not available yet."""

    @property
    def home(self) -> Path:
        """Folder of the embedded engine's data."""
        if self.market_data_home:
            return Path(self.market_data_home).expanduser().absolute()
        return platformdirs.user_data_path("market-data")

    @property
    def direct_url(self) -> str | None:
        """URL of the server without PgBouncer, for sessions: LISTEN, the feed, migrations and commands."""
        return self.database_direct_url or self.database_url

    @property
    def origins(self) -> list[str]:
        """CORS_ORIGINS as a list."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def proxies(self) -> list[Network]:
        """TRUSTED_PROXIES as networks, with IPv4 networks in place of their IPv6-mapped form."""
        return [_unmapped(ipaddress.ip_network(text.strip())) for text in self.trusted_proxies.split(",") if text.strip()]

    def __repr__(self) -> str:
        """Omit the database URL, which contains a password."""
        return f"Settings(home={str(self.home)!r}, server={self.database_url is not None})"


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment (default: this process's).

    Raises:
        SettingsError: A variable has an invalid value. The message names the variable and contains no secrets.
    """
    given = os.environ if environment is None else environment
    values = {name: value.strip() for name, value in given.items() if value.strip()}
    if "LOG_LEVEL" in values:
        values["LOG_LEVEL"] = values["LOG_LEVEL"].upper()
    if "AUTH" in values:
        values["AUTH"] = values["AUTH"].lower()
    for name in ("DATABASE_URL", "DATABASE_DIRECT_URL", "DATABASE_READ_URL"):
        if name in values:
            values[name] = database_url(values[name], name)
    if "ROOT_PATH" in values:
        values["ROOT_PATH"] = path_prefix(values["ROOT_PATH"], "ROOT_PATH")
    try:
        settings = msgspec.convert(values, Settings, strict=False)
        _ = settings.home  # fails for an unknown user in `~user`
        if settings.database_direct_url and not settings.database_url:
            raise SettingsError("DATABASE_DIRECT_URL is set without DATABASE_URL; set both, or DATABASE_URL alone.")
        _check_lists(settings)
        if settings.docs_assets and not Path(settings.docs_assets, "swagger-ui-dist").is_dir():
            raise SettingsError(f"DOCS_ASSETS={settings.docs_assets!r}: no such folder with swagger-ui-dist and redoc")
    except msgspec.ValidationError as error:
        message, _, path = str(error).replace("`", "").partition(" - at $.")
        expected = _without_type_names(message, Auth if path == "AUTH" else LogLevel)
        raise SettingsError(f"{path}={values[path]!r}: {expected}") from None
    except RuntimeError:
        raise SettingsError(f"MARKET_DATA_HOME={values['MARKET_DATA_HOME']!r}: there is no such home directory") from None
    return settings


def _check_lists(settings: Settings) -> None:
    for origin in settings.origins if settings.cors_origins != "*" else ():
        if not ORIGIN.fullmatch(origin):
            raise SettingsError(
                f"CORS_ORIGINS={settings.cors_origins!r}: {origin!r} is not an origin as browsers send it, "
                "such as https://example.com or http://localhost:3000 (no path, no capitals), nor * alone"
            )
    try:
        _ = settings.proxies
    except ValueError as error:
        raise SettingsError(f"TRUSTED_PROXIES={settings.trusted_proxies!r}: {error}") from None


def _unmapped(network: Network) -> Network:
    if isinstance(network, ipaddress.IPv4Network) or not network.subnet_of(MAPPED):
        return network
    return ipaddress.IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - MAPPED.prefixlen))


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


def _without_type_names(message: str, choices: object) -> str:
    """Replace the names of Python types in a message of msgspec."""
    for type_, words in (("bool", "true or false"), ("int", "a whole number"), ("float", "a number")):
        message = message.replace(f"Expected {type_}", f"expected {words}")
    if message.startswith("Invalid enum value"):
        message = f"expected one of {', '.join(get_args(choices))}"
    return message.removesuffix(", got str").replace(" | null", "")


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
