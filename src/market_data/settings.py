"""Settings, read once from the environment.

Each field is an environment variable of the same name in capitals; an empty variable counts as not set. A secret may also be
in a file, which the variable with `_FILE` names.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

import msgspec
import platformdirs
from msgspec import Meta, Struct

from market_data.errors import SettingsError
from market_data.proof.notes import InvalidNote, VerifierKey, parse_key
from market_data.url_settings import database_url, path_prefix

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Auth = Literal["open", "required"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
"""Host name in lower case without a trailing dot; with `*.`, all names that end with the rest."""
LOG_ORIGIN = re.compile(r"[^\s+]{1,200}")
"""Name of a log or key (c2sp.org/signed-note)."""
MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""IPv4 addresses in the form in which an IPv6 socket shows them."""
Seconds = Annotated[float, Meta(ge=0.05, le=3600)]


SECRETS = ("DATABASE_URL", "DATABASE_DIRECT_URL", "DATABASE_READ_URL")
"""Settings that may be in files."""


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
    listen_host: str = "127.0.0.1"
    """Address to listen on; not `HOST`, which some shells export as the name of the machine."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """Port to listen on, 0 for any free one. Platforms that run containers set this variable."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    """Worker processes."""
    log_level: LogLevel = "INFO"
    auth: Auth = "open"
    """`required` if reads need an API key, too; writes always do."""
    compatibility: str = "all"
    """Comma-separated foreign protocols that are served, `all` or `none`; README lists them."""
    mcp_enabled: bool = False
    """True to serve `/mcp` for language models. Needs the extra `mcp`, and 40 MB of memory in each worker."""
    rate_limit: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Requests of an API key, or of an address without one, within `rate_limit_seconds`; 0 for no limit."""
    rate_limit_seconds: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """Period of `rate_limit`."""
    max_body_bytes: Annotated[int, Meta(ge=1000, le=1_000_000_000)] = 5_000_000
    """Maximum size of a request body, decompressed; a larger one is answered 413."""
    request_timeout_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    """Time until the response of a request must begin; after that it is answered 503."""
    keep_alive_seconds: Annotated[int, Meta(ge=1, le=3600)] = 75
    """Time after which an idle connection is closed: longer than a proxy in front keeps it, often 60."""
    cors_origins: str = ""
    """Comma-separated origins whose pages may read responses (CORS); `*` for all, empty for none."""
    trusted_proxies: str = ""
    """Comma-separated addresses and networks whose `X-Forwarded-…` headers are trusted."""
    allowed_hosts: str = ""
    """Comma-separated host names of the service: `example.com`, `*.example.com`, addresses, networks, or `*`.

    Requests with another `Host` are answered 421, except for loopback names. If empty, each `Host` is allowed, but
    `market-data serve` on loopback then allows loopback names only.
    """
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
    log_key_file: str = ""
    """File of the private key of the transparency log, created at the first start; if empty, in `market_data_home`."""
    log_origin: str = ""
    """Name of the transparency log, such as `example.com/prices`, which its first start fixes; if empty, a random one."""
    log_interval_seconds: Annotated[float, Meta(ge=0.05, le=60)] = 10.0
    """Time between two additions to the transparency log."""
    audit_share: Annotated[float, Meta(ge=0, le=0.5)] = 0.02
    """Share of the time in which the audit compares candles, prices and trades; 0 turns it off."""
    witness_urls: str = ""
    """Comma-separated addresses of witnesses (c2sp.org/tlog-witness) that sign each checkpoint as well."""
    witness_keys: str = ""
    """Comma-separated verifier keys of these witnesses; other signatures are ignored."""
    pool_size: Annotated[int, Meta(ge=1, le=100)] = 4
    """Connections of each worker to the database."""
    pool_timeout_seconds: Seconds = 2.0
    """Time that a request waits for a free connection before it is answered 503."""
    pool_max_waiting: Annotated[int, Meta(ge=1, le=10000)] = 200
    """Requests that may wait for a connection; further ones are answered 503 at once."""
    query_timeout_seconds: Seconds = 5.0
    """Time that a request waits for the database's result before it is answered 503."""
    max_replays: Annotated[int, Meta(ge=0, le=1000)] = 8
    """Replays that run in each worker at the same time; further ones are answered 503."""
    cache_seconds: Annotated[int, Meta(ge=0, le=86400)] = 10
    """Time for which caches may use candles and trades of the past without a late trade; 0 to revalidate them always."""
    max_blocking_seconds: Annotated[float, Meta(ge=0, le=86400)] = 60.0
    """Time after which a session of another role that blocks jobs of the database is ended; 0 for never."""
    database_start_timeout_seconds: Annotated[float, Meta(ge=0, le=3600)] = 60.0
    """Time that the start waits for a server that is not available yet."""

    @property
    def home(self) -> Path:
        """Folder of the embedded engine's data."""
        if self.market_data_home:
            return Path(self.market_data_home).expanduser().absolute()
        return platformdirs.user_data_path("market-data")

    @property
    def log_key_path(self) -> Path:
        """File of the private key of the transparency log."""
        return Path(self.log_key_file).expanduser().absolute() if self.log_key_file else self.home / "log-key.pem"

    @property
    def direct_url(self) -> str | None:
        """URL of the server without PgBouncer, for sessions: LISTEN, the feed, migrations and commands."""
        return self.database_direct_url or self.database_url

    @property
    def witnesses(self) -> list[str]:
        """WITNESS_URLS as a list."""
        return [url.strip().rstrip("/") for url in self.witness_urls.split(",") if url.strip()]

    @property
    def witness_verifiers(self) -> list[VerifierKey]:
        """WITNESS_KEYS as keys."""
        return [parse_key(key) for key in self.witness_keys.split(",") if key.strip()]

    @property
    def origins(self) -> list[str]:
        """CORS_ORIGINS as a list."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def proxies(self) -> list[Network]:
        """TRUSTED_PROXIES as networks, with IPv4 networks in place of their IPv6-mapped form."""
        return [_unmapped(ipaddress.ip_network(text.strip())) for text in self.trusted_proxies.split(",") if text.strip()]

    @property
    def hosts(self) -> "Hosts":
        """ALLOWED_HOSTS as names in lower case, and networks."""
        texts = [text.strip().lower() for text in self.allowed_hosts.split(",") if text.strip()]
        networks = {text: network for text in texts if (network := _network(text))}
        return Hosts(frozenset(texts) - networks.keys(), tuple(networks.values()))

    def __repr__(self) -> str:
        """Omit the database URL, which contains a password."""
        return f"Settings(home={str(self.home)!r}, server={self.database_url is not None})"


class Hosts(NamedTuple):
    """Hosts of ALLOWED_HOSTS. Both are empty if it is."""

    names: frozenset[str]
    networks: tuple[Network, ...]


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
    for name in SECRETS:
        if secret := read_secret(name, values):
            values[name] = database_url(secret, name)
    if "ROOT_PATH" in values:
        values["ROOT_PATH"] = path_prefix(values["ROOT_PATH"], "ROOT_PATH")
    try:
        settings = msgspec.convert(values, Settings, strict=False)
        _ = settings.home  # fails for an unknown user in `~user`
        if settings.database_direct_url and not settings.database_url:
            raise SettingsError("DATABASE_DIRECT_URL is set without DATABASE_URL; set both, or DATABASE_URL alone.")
        _check_lists(settings)
        _check_log(settings)
        if settings.docs_assets and not Path(settings.docs_assets, "swagger-ui-dist").is_dir():
            raise SettingsError(f"DOCS_ASSETS={settings.docs_assets!r}: no such folder with swagger-ui-dist and redoc")
    except msgspec.ValidationError as error:
        message, _, path = str(error).replace("`", "").partition(" - at $.")
        expected = _without_type_names(message, Auth if path == "AUTH" else LogLevel)
        raise SettingsError(f"{path}={values[path]!r}: {expected}") from None
    except RuntimeError:
        raise SettingsError(f"MARKET_DATA_HOME={values['MARKET_DATA_HOME']!r}: there is no such home directory") from None
    return settings


def read_secret(name: str, environment: Mapping[str, str]) -> str:
    """Return the value of a variable, or the content of the file that the variable with `_FILE` names; empty for neither.

    Raises:
        SettingsError: Both are set, or the file can't be read or is empty.
    """
    value, path = (environment.get(each, "").strip() for each in (name, f"{name}_FILE"))
    if not path:
        return value
    if value:
        raise SettingsError(f"{name} and {name}_FILE are both set; set one of them.")
    try:
        value = Path(path).read_text().strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise SettingsError(f"{name}_FILE={path!r} can't be read: {reason}") from None
    if not value:
        raise SettingsError(f"{name}_FILE={path!r} is empty")
    return value


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

    for name in settings.hosts.names:
        if name != "*" and not HOST_NAME.fullmatch(name):
            raise SettingsError(
                f"ALLOWED_HOSTS={settings.allowed_hosts!r}: {name!r} is not a host name such as example.com or "
                "*.example.com, an address or network such as 10.0.0.0/8, nor *; write it without scheme and port"
            )


def _check_log(settings: Settings) -> None:
    if settings.log_origin and not LOG_ORIGIN.fullmatch(settings.log_origin):
        raise SettingsError(f"LOG_ORIGIN={settings.log_origin!r}: a name without spaces and +, such as example.com/prices")
    for url in settings.witnesses:
        if not url.startswith(("https://", "http://")):
            raise SettingsError(
                f"WITNESS_URLS={settings.witness_urls!r}: {url!r} is not a URL such as https://witness.example"
            )
    try:
        _ = settings.witness_verifiers
    except InvalidNote as error:
        raise SettingsError(f"WITNESS_KEYS: {error}") from None
    if settings.witnesses and not settings.witness_keys:
        raise SettingsError("WITNESS_URLS is set without WITNESS_KEYS; set the verifier keys of the witnesses as well.")


def is_loopback_name(name: str) -> bool:
    """Return True if a name in lower case is always an address of this machine (RFC 6761)."""
    return name == "localhost" or name.endswith(".localhost")


def _network(text: str) -> Network | None:
    try:
        return _unmapped(ipaddress.ip_network(text.strip("[]")))
    except ValueError:
        return None


def _unmapped(network: Network) -> Network:
    if isinstance(network, ipaddress.IPv4Network) or not network.subnet_of(MAPPED):
        return network
    return ipaddress.IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - MAPPED.prefixlen))


def _without_type_names(message: str, choices: object) -> str:
    """Replace the names of Python types in a message of msgspec."""
    for type_, words in (("bool", "true or false"), ("int", "a whole number"), ("float", "a number")):
        message = message.replace(f"Expected {type_}", f"expected {words}")
    if message.startswith("Invalid enum value"):
        message = f"expected one of {', '.join(get_args(choices))}"
    return message.removesuffix(", got str").replace(" | null", "")
