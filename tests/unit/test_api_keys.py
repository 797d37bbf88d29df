"""Format of API keys, and how requests carry them."""

import re
from hashlib import sha256

import pytest

from market_data.auth.api_keys import expand_scopes, generate_key, hash_key, parse_prefix
from market_data.errors import Unauthorized
from market_data.middleware.authentication import given_key
from market_data.telemetry.logging import without_secrets


def test_generated_keys_match_the_format_and_differ():
    keys = {generate_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert re.fullmatch(r"md_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", key)
        assert parse_prefix(key) == key[3:11]


@pytest.mark.parametrize("text", ["", "md_", "md_0011aabb_", "md_0011aabb_" + "x" * 42, "MD_0011aabb_" + "x" * 43, "é" * 55])
def test_other_texts_have_no_prefix(text: str):
    assert parse_prefix(text) is None


def test_hash_is_sha256_of_the_whole_key():
    assert hash_key("md_0011aabb_x") == sha256(b"md_0011aabb_x").digest()


def test_scopes_include_lower_ones():
    assert expand_scopes(["read"]) == {"read"}
    assert expand_scopes(["write"]) == {"read", "write"}
    assert expand_scopes(["admin", "read"]) == {"read", "write", "admin"}


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([], None),
        ([(b"authorization", b"Bearer one")], "one"),
        ([(b"authorization", b"BEARER  one ")], "one"),
        ([(b"x-api-key", b" one")], "one"),
        ([(b"accept", b"*/*"), (b"x-api-key", b"one"), (b"authorization", b"Bearer one")], "one"),
        ([(b"authorization", b"Basic b25lOg=="), (b"x-api-key", b"one")], "one"),
        ([(b"authorization", b"Basic b25lOg==")], None),
        ([(b"authorization", b"one")], None),
        ([(b"authorization", b"")], None),
    ],
)
def test_key_of_a_request(headers: list[tuple[bytes, bytes]], key: str | None):
    assert given_key(headers) == key


@pytest.mark.parametrize(
    ("subprotocols", "key"),
    [
        (["bearer", "one"], "one"),
        (["other", "bearer", "one"], "one"),
        (["bearer"], None),
        (["one"], None),
        (["x", "one"], None),
    ],
)
def test_key_after_the_subprotocol_of_a_websocket(subprotocols: list[str], key: str | None):
    assert given_key([(b"authorization", b"Basic b25lOg==")], subprotocols) == key


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([(b"authorization", b"Bearer")], "is empty"),
        ([(b"x-api-key", b"")], "is empty"),
        ([(b"x-api-key", b"one"), (b"authorization", b"Bearer two")], "different keys"),
        ([(b"x-api-key", b"one"), (b"x-api-key", b"two")], "different keys"),
        ([(b"x-api-key", b""), (b"authorization", b"Bearer two")], "different keys"),
    ],
)
def test_ambiguous_credentials_are_rejected_without_repeating_them(headers: list[tuple[bytes, bytes]], reason: str):
    with pytest.raises(Unauthorized, match=reason) as refused:
        given_key(headers)
    assert "one" not in str(refused.value).split()


def test_a_header_and_a_subprotocol_with_different_keys_are_rejected():
    with pytest.raises(Unauthorized, match="different keys"):
        given_key([(b"x-api-key", b"one")], ["bearer", "two"])


def test_logs_contain_only_the_prefix_of_a_key():
    key = generate_key()
    assert without_secrets(f"Authorization: Bearer {key}, and so on") == f"Authorization: Bearer {key[:12]}***, and so on"
    assert without_secrets(f"[b'{key}']") == f"[b'{key[:12]}***']"
