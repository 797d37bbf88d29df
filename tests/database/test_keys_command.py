"""`market-data keys`: create, list, rotate and revoke."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from helpers.api_keys import store_key
from helpers.service import command, error_line

from market_data.auth.api_keys import KEY_PATTERN


@pytest.fixture(scope="module")
def own_database(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with new_migrated_database() as url:
        yield url


@pytest.fixture
def url(own_database: str) -> str:
    """A database without keys."""
    with psycopg.connect(own_database, autocommit=True) as connection:
        connection.execute("TRUNCATE api_keys")
    return own_database


def keys(url: str, *arguments: str) -> str:
    """Return the standard output of a command."""
    ended = command("keys", *arguments, DATABASE_URL=url)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def listed(url: str) -> list[dict[str, Any]]:
    return json.loads(keys(url, "list", "--json"))


def test_only_the_key_is_printed_and_only_its_hash_is_stored(url: str):
    ended = command("keys", "create", "loader", "--scope", "write", "--expires", "90d", DATABASE_URL=url)
    assert ended.returncode == 0
    secret = ended.stdout.removesuffix("\n")
    assert KEY_PATTERN.fullmatch(secret)
    assert secret not in ended.stderr
    assert "not shown again" in ended.stderr
    with psycopg.connect(url) as connection:
        (stored,) = connection.execute("SELECT * FROM api_keys").fetchall()
    assert sha256(secret.encode()).digest() in stored
    assert secret not in str(stored)
    (shown,) = listed(url)
    assert (shown["name"], shown["prefix"], shown["scopes"], shown["state"]) == ("loader", secret[3:11], ["write"], "valid")
    ends = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89.9) < ends < timedelta(days=90.1)


def test_by_default_a_key_may_read_and_never_expires(url: str):
    keys(url, "create", "reader")
    (shown,) = listed(url)
    assert (shown["scopes"], shown["expires_at"]) == (["read"], None)


def test_a_key_may_have_several_scopes(url: str):
    keys(url, "create", "both", "--scope", "write", "--scope", "read")
    assert listed(url)[0]["scopes"] == ["read", "write"]


def test_a_name_can_be_used_again_after_its_key_is_revoked(url: str):
    keys(url, "create", "loader")
    assert "There is a key loader already" in error_line("keys", "create", "loader", DATABASE_URL=url)
    keys(url, "revoke", "loader")
    keys(url, "create", "loader")
    assert [key["state"] for key in listed(url)] == ["revoked", "valid"]


def test_list_does_not_show_secrets(url: str):
    assert keys(url, "list") == "there are no keys; create one with `market-data keys create NAME`\n"
    secrets = [keys(url, "create", name).strip() for name in ("one", "two")]
    store_key(url, "admin", name="old", lasts=timedelta(seconds=-1))
    table = keys(url, "list")
    heading, *rows = [line.split("  ") for line in table.splitlines()]
    assert heading[0] == "name"
    assert [row[0] for row in rows] == ["old", "one", "two"]
    assert [line.split()[-1] for line in table.splitlines()[1:]] == ["expired", "valid", "valid"]
    for secret in secrets:
        assert secret[3:11] in table
        assert secret[12:] not in table + keys(url, "list", "--json")


def test_rotation_ends_the_old_key_immediately(url: str):
    first = keys(url, "create", "loader", "--scope", "admin", "--expires", "2d").strip()
    second = keys(url, "rotate", "loader").strip()
    assert KEY_PATTERN.fullmatch(second)
    before, after = listed(url)
    assert (before["prefix"], before["state"]) == (first[3:11], "revoked")
    assert (after["prefix"], after["state"], after["scopes"]) == (second[3:11], "valid", ["admin"])
    ends = datetime.fromisoformat(after["expires_at"]) - datetime.fromisoformat(after["created_at"])
    assert abs(ends - timedelta(days=2)) < timedelta(seconds=2)


def test_with_a_grace_period_both_keys_are_valid_and_revoking_the_name_ends_both(url: str):
    keys(url, "create", "loader")
    keys(url, "rotate", "loader", "--grace", "1h")
    assert [key["state"] for key in listed(url)] == ["replaced", "valid"]
    assert keys(url, "revoke", "loader").count("loader (") == 2
    assert [key["state"] for key in listed(url)] == ["revoked", "revoked"]


def test_a_key_is_revoked_by_its_prefix(url: str):
    first = keys(url, "create", "loader").strip()
    keys(url, "rotate", "loader", "--grace", "1h")
    keys(url, "revoke", first[3:11])
    assert [key["state"] for key in listed(url)] == ["revoked", "valid"]


def test_an_unknown_key_is_reported_in_one_line(url: str):
    for action in ("rotate", "revoke"):
        assert "There is no valid key nobody" in error_line("keys", action, "nobody", DATABASE_URL=url)
    keys(url, "create", "loader")
    keys(url, "revoke", "loader")
    for action in ("rotate", "revoke"):
        assert "There is no valid key loader" in error_line("keys", action, "loader", DATABASE_URL=url)


@pytest.mark.parametrize("name", ["", "a b", "ü", "x" * 65, "0011aabb", "a\n"])
def test_an_invalid_name_is_rejected_by_the_command_and_by_the_table(url: str, name: str):
    ended = command("keys", "create", name, DATABASE_URL=url)
    assert ended.returncode == 2
    assert "can't be the name of a key" in ended.stderr
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "INSERT INTO api_keys (name, prefix, hash, scopes) VALUES (%s, '0011aabb', %s, '{read}')", (name, bytes(32))
        )


@pytest.mark.parametrize("scopes", [[], ["root"], ["read", "root"]])
def test_invalid_scopes_are_rejected_by_the_table(url: str, scopes: list[str]):
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "INSERT INTO api_keys (name, prefix, hash, scopes) VALUES ('x', '0011aabb', %s, %s)", (bytes(32), scopes)
        )
