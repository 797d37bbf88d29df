"""Headers of proxies: client address, scheme and path prefix."""

import asyncio
from typing import Any

import pytest

from market_data.errors import SettingsError
from market_data.middleware.proxies import MAX_ADDRESS_LENGTH, Proxies, normalize_address
from market_data.settings import Settings, read_settings

Scope = dict[str, Any]


def seen(
    peer: str,
    *headers: tuple[str, str],
    trusted: str = "127.0.0.1, 10.0.0.0/8",
    path: str = "/",
    root_path: str = "",
    **scope: Any,
) -> Scope:
    """Return the scope of a request as the application sees it."""
    given: Scope = {
        "type": "http",
        "scheme": "http",
        "client": (peer, 1234),
        "path": path,
        "raw_path": path.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "state": {},
        **scope,
    }

    async def app(*_: Any) -> None:
        pass

    middleware = Proxies(app, Settings(trusted_proxies=trusted, root_path=root_path))
    asyncio.run(middleware(given, None, None))  # type: ignore[arg-type]  # the application does not use them
    return given


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:0207", "192.0.2.7"),
        ("0:0:0:0:0:ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:8080", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:8080", "192.0.2.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("testclient", "testclient"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_addresses_are_normalized(text: str, address: str):
    assert normalize_address(text) == address


@pytest.mark.parametrize("trusted", ["127.0.0.1", "::ffff:127.0.0.1", "127.0.0.0/8", "::ffff:127.0.0.0/104"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_a_trusted_proxy_is_recognized_in_both_forms_of_its_address(peer: str, trusted: str):
    for given in ("203.0.113.7", "::ffff:203.0.113.7", "198.51.100.1, ::ffff:203.0.113.7", "203.0.113.7, ::ffff:127.0.0.1"):
        assert seen(peer, ("X-Forwarded-For", given), trusted=trusted)["client"][0] == "203.0.113.7", given


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (["198.51.100.1", "203.0.113.7, 10.1.2.3"], "203.0.113.7"),
        (["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        (["unknown"], "unknown"),
        ([""], "127.0.0.1"),
        ([], "127.0.0.1"),
        (["x" * 10_000], "x" * MAX_ADDRESS_LENGTH),
    ],
)
def test_the_last_address_that_is_not_a_proxy_is_the_client(given: list[str], address: str):
    assert seen("127.0.0.1", *(("X-Forwarded-For", each) for each in given))["client"][0] == address


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8", "::/0", "::ffff:10.0.0.0/104"])
def test_headers_of_other_clients_are_ignored(trusted: str):
    headers = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Prefix", "/md")]
    scope = seen("::ffff:192.0.2.1", *headers, trusted=trusted, path="/md/symbols")
    assert scope["client"] == ("192.0.2.1", 1234)
    assert (scope["scheme"], scope["path"], scope["state"]) == ("http", "/md/symbols", {"root_path": ""})


def test_a_request_without_an_address_is_passed_on():
    assert seen("", client=None)["client"] is None


@pytest.mark.parametrize(
    ("kind", "given", "scheme"),
    [
        ("http", "https", "https"),
        ("http", "HTTPS", "https"),
        ("http", "wss", "https"),
        ("websocket", "https", "wss"),
        ("websocket", "ws", "ws"),
        ("http", "gopher", "http"),
    ],
)
def test_the_scheme_is_that_of_the_client(kind: str, given: str, scheme: str):
    assert seen("127.0.0.1", ("X-Forwarded-Proto", given), type=kind, scheme="http")["scheme"] == scheme


@pytest.mark.parametrize(
    ("prefix", "path", "left"),
    [
        ("/md", "/symbols", "/symbols"),
        ("/md", "/md/symbols", "/symbols"),
        ("/md/", "/md/symbols", "/symbols"),
        ("/md", "/md", "/"),
        ("/md", "/md/", "/"),
        ("/md", "/mdx/symbols", "/mdx/symbols"),
        ("/md", "/symbols/md", "/symbols/md"),
        ("/a/b.c", "/a/b.c/symbols", "/symbols"),
    ],
)
def test_a_path_prefix_is_kept_and_removed_from_the_path(prefix: str, path: str, left: str):
    from_proxy = seen("127.0.0.1", ("X-Forwarded-Prefix", prefix), path=path)
    from_setting = seen("192.0.2.1", path=path, root_path=read_settings({"ROOT_PATH": prefix}).root_path)
    for scope in (from_proxy, from_setting):
        assert scope["state"]["root_path"] == prefix.rstrip("/")
        assert (scope["path"], scope["raw_path"]) == (left, left.encode())


def test_a_forwarded_prefix_takes_precedence_over_the_setting():
    assert seen("127.0.0.1", ("X-Forwarded-Prefix", "/a"), root_path="/b")["state"]["root_path"] == "/a"
    assert seen("127.0.0.1", ("X-Forwarded-Prefix", ""), root_path="/b")["state"]["root_path"] == "/b"


INVALID = [
    "md",
    "//evil.example",
    "/md//x",
    "https://evil.example",
    "/md\\evil",
    "/..",
    "/md/../x",
    "/./md",
    "/<script>",
    '/"md',
    "/md'",
    "/md x",
    "/md?x",
    "/md#x",
    "/md%2f",
    "/md;x",
    "/md,/x",
    "/md\n",
    "/mä",
]


@pytest.mark.parametrize("prefix", INVALID)
def test_an_invalid_prefix_is_ignored_in_a_header_and_an_error_in_the_setting(prefix: str):
    scope = seen("127.0.0.1", ("X-Forwarded-Prefix", prefix), path="/symbols", root_path="/b")
    assert (scope["state"]["root_path"], scope["path"]) == ("/b", "/symbols")
    if prefix.strip() == prefix:
        with pytest.raises(SettingsError, match=r"^ROOT_PATH=.*begins with one slash"):
            read_settings({"ROOT_PATH": prefix})
