"""Settings from the environment."""

from pathlib import Path

import msgspec
import pytest
from helpers.support import PROJECT

from market_data.errors import SettingsError
from market_data.settings import Settings, read_settings

PASSWORD = "h0rse-battery"
WITNESS_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", f"mysql://user:{PASSWORD}@host/database"),
        ("DATABASE_URL", f"postgresql+asyncpg://user:{PASSWORD}@host/database"),
        ("DATABASE_URL", f"host=host password={PASSWORD}"),
        ("DATABASE_URL", f"postgresql://user:{PASSWORD}%zz@host/database"),
        ("DATABASE_URL", f"postgresql://user:{PASSWORD}@host/database?no_such_option=1"),
        ("DATABASE_DIRECT_URL", f"mysql://user:{PASSWORD}@host/database"),
        ("DATABASE_READ_URL", f"host=host password={PASSWORD}"),
        ("AUTH", "maybe"),
        ("RATE_LIMIT", "-1"),
        ("RATE_LIMIT", "many"),
        ("RATE_LIMIT_SECONDS", "0"),
        ("MAX_BODY_BYTES", "5MB"),
        ("REQUEST_TIMEOUT_SECONDS", "0"),
        ("FUTURE_TOLERANCE_SECONDS", "-1"),
        ("EMBEDDED_PORT", "-1"),
        ("EMBEDDED_PORT", "65536"),
        ("PORT", "tcp://10.0.0.7:8000"),
        ("PORT", "65536"),
        ("WORKERS", "0"),
        ("WORKERS", "auto"),
        ("LOG_LEVEL", "loud"),
        ("LOG_LEVEL", "30"),
        ("FEED_ENABLED", "maybe"),
        ("INGESTION_INTERVAL_SECONDS", "0"),
        ("INGESTION_INTERVAL_SECONDS", "-3"),
        ("INGESTION_INTERVAL_SECONDS", "3s"),
        ("INGESTION_INTERVAL_SECONDS", "nan"),
        ("INGESTION_INTERVAL_SECONDS", "inf"),
        ("FEED_SEED", "1.5"),
        ("FEED_SEED", "dice"),
        ("FEED_LEASE_SECONDS", "0.5"),
        ("FEED_LEASE_SECONDS", "61"),
        ("LOG_ORIGIN", "two words"),
        ("LOG_INTERVAL_SECONDS", "61"),
        ("AUDIT_SHARE", "0.6"),
        ("WITNESS_URLS", "witness.example"),
        ("WITNESS_URLS", "https://witness.example"),
        ("WITNESS_KEYS", "example.com/foo+530d903a+AAAA"),
        ("POOL_SIZE", "0"),
        ("POOL_SIZE", "101"),
        ("POOL_SIZE", "four"),
        ("POOL_SIZE", "4\n5"),
        ("POOL_TIMEOUT_SECONDS", "0"),
        ("POOL_TIMEOUT_SECONDS", "3601"),
        ("POOL_MAX_WAITING", "0"),
        ("POOL_MAX_WAITING", "1.5"),
        ("QUERY_TIMEOUT_SECONDS", "0"),
        ("DATABASE_START_TIMEOUT_SECONDS", "-1"),
    ],
)
def test_invalid_value_is_reported_in_one_line_with_the_variable(name: str, value: str):
    with pytest.raises(SettingsError) as caught:
        read_settings({name: value, "HOME": "/root"})
    message = str(caught.value)
    assert message.startswith(name)
    assert "\n" not in message
    assert PASSWORD not in message
    assert "`" not in message
    assert "null" not in message


@pytest.mark.parametrize(
    "given",
    [
        f"postgresql://user:{PASSWORD}@host:5433/database",
        f"postgresql+psycopg://user:{PASSWORD}@host:5433/database",
        f"  postgresql://user:{PASSWORD}@host:5433/database\n",
    ],
)
def test_both_url_schemes_are_accepted(given: str):
    assert read_settings({"DATABASE_URL": given}).database_url == f"postgresql://user:{PASSWORD}@host:5433/database"


def test_no_representation_of_the_settings_contains_the_password():
    settings = read_settings({"DATABASE_URL": f"postgresql://user:{PASSWORD}@host/database"})
    assert PASSWORD not in repr(settings) + str(settings) + f"{settings}"


@pytest.mark.parametrize("value", ["", "  "])
def test_empty_variable_counts_as_unset(value: str):
    assert read_settings({field.encode_name: value for field in msgspec.structs.fields(Settings)}) == Settings()


def test_every_setting_is_read_from_its_variable(tmp_path: Path):
    (tmp_path / "swagger-ui-dist").mkdir()
    given = {
        "DATABASE_URL": "postgresql:///database",
        "DATABASE_DIRECT_URL": "postgresql:///direct",
        "DATABASE_READ_URL": "postgresql:///replica",
        "AUTH": "Required",
        "RATE_LIMIT": "600",
        "RATE_LIMIT_SECONDS": "30",
        "MAX_BODY_BYTES": "1000000",
        "REQUEST_TIMEOUT_SECONDS": "10",
        "KEEP_ALIVE_SECONDS": "620",
        "CORS_ORIGINS": "https://example.com",
        "TRUSTED_PROXIES": "10.0.0.0/8",
        "ALLOWED_HOSTS": "example.com",
        "ROOT_PATH": "/md/",
        "FUTURE_TOLERANCE_SECONDS": "5",
        "MARKET_DATA_HOME": "/data",
        "EMBEDDED_PORT": "5500",
        "DOCS_ASSETS": str(tmp_path),
        "LISTEN_HOST": "::",
        "PORT": "8080",
        "WORKERS": "4",
        "LOG_LEVEL": "warning",
        "FEED_ENABLED": "false",
        "INGESTION_INTERVAL_SECONDS": "0.25",
        "FEED_SEED": "42",
        "FEED_LEASE_SECONDS": "2",
        "LOG_KEY_FILE": "/keys/log.pem",
        "COMPATIBILITY": "udf, binance",
        "MCP_ENABLED": "true",
        "LOG_ORIGIN": "example.com/prices",
        "LOG_INTERVAL_SECONDS": "2",
        "AUDIT_SHARE": "0.1",
        "WITNESS_URLS": "https://witness.example/",
        "WITNESS_KEYS": WITNESS_KEY,
        "POOL_SIZE": "8",
        "POOL_TIMEOUT_SECONDS": "1.5",
        "POOL_MAX_WAITING": "10",
        "QUERY_TIMEOUT_SECONDS": "0.5",
        "MAX_REPLAYS": "3",
        "CACHE_SECONDS": "60",
        "MAX_BLOCKING_SECONDS": "600",
        "DATABASE_START_TIMEOUT_SECONDS": "0",
    }
    assert msgspec.structs.asdict(read_settings(given)) == {
        "database_url": "postgresql:///database",
        "database_direct_url": "postgresql:///direct",
        "database_read_url": "postgresql:///replica",
        "auth": "required",
        "compatibility": "udf, binance",
        "mcp_enabled": True,
        "rate_limit": 600,
        "rate_limit_seconds": 30.0,
        "max_body_bytes": 1_000_000,
        "request_timeout_seconds": 10.0,
        "keep_alive_seconds": 620,
        "cors_origins": "https://example.com",
        "trusted_proxies": "10.0.0.0/8",
        "allowed_hosts": "example.com",
        "root_path": "/md",
        "future_tolerance_seconds": 5.0,
        "market_data_home": "/data",
        "embedded_port": 5500,
        "docs_assets": str(tmp_path),
        "listen_host": "::",
        "port": 8080,
        "workers": 4,
        "log_level": "WARNING",
        "feed_enabled": False,
        "ingestion_interval_seconds": 0.25,
        "feed_seed": 42,
        "log_key_file": "/keys/log.pem",
        "log_origin": "example.com/prices",
        "log_interval_seconds": 2.0,
        "audit_share": 0.1,
        "witness_urls": "https://witness.example/",
        "witness_keys": WITNESS_KEY,
        "feed_lease_seconds": 2.0,
        "pool_size": 8,
        "pool_timeout_seconds": 1.5,
        "pool_max_waiting": 10,
        "query_timeout_seconds": 0.5,
        "max_replays": 3,
        "cache_seconds": 60,
        "max_blocking_seconds": 600.0,
        "database_start_timeout_seconds": 0.0,
    }


def test_home_is_absolute_in_any_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Settings(market_data_home="data").home == tmp_path / "data"
    assert Settings(market_data_home="~/data").home == Path("/home/somebody/data")
    assert Settings().home.is_absolute()


def settings_in(readme: str) -> dict[str, str]:
    """Return the defaults in a README's table of settings, by variable."""
    lines = (PROJECT / readme).read_text().splitlines()
    rows = [[cell.strip(" `") for cell in line.split("|")] for line in lines if line.startswith("|")]
    return {name: default for _, name, default, *_ in rows}


def test_readme_names_every_setting_with_its_default():
    table, root = settings_in("src/market_data/README.md"), settings_in("README.md")
    for field in msgspec.structs.fields(Settings):
        assert field.encode_name in table, "missing in the README's table of settings"
        assert root.get(field.encode_name, table[field.encode_name]) == table[field.encode_name]
        if field.default not in (None, ""):
            default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            assert table[field.encode_name].lower() == default.lower().removesuffix(".0")


def test_folder_without_the_scripts_of_the_pages_is_rejected(tmp_path: Path):
    with pytest.raises(SettingsError, match="DOCS_ASSETS="):
        read_settings({"DOCS_ASSETS": str(tmp_path)})
