"""Dockerfile, compared with the code. Needs no container engine."""

import re
import shlex
import subprocess
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import PurePosixPath
from threading import Thread

import pytest
from helpers.containers import command, compose, health_check, image, in_context, stages
from helpers.support import PROJECT

from market_data.api.docs import REDOC, SCRIPTS, SWAGGER
from market_data.cli import main


def test_every_image_is_pinned_to_a_release() -> None:
    own = {stage.name for stage in stages()}
    images = [stage.image for stage in stages() if stage.image not in own]
    images += [service["image"] for service in compose().values() if "image" in service]
    assert len(images) == 6
    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+(-\w|$)", image)] == []


def test_the_image_does_not_run_as_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image().last("USER"))


def test_the_image_has_no_embedded_engine_and_no_development_tools() -> None:
    runs = [arguments for stage in stages() for each, arguments in stage.steps if each == "RUN"]
    syncs = [words for words in map(shlex.split, " && ".join(runs).split(" && ")) if words[:2] == ["uv", "sync"]]
    assert syncs
    for words in syncs:
        assert set(words[2:]) <= {"--no-default-groups", "--no-install-project", "--no-editable"}
        assert "--no-default-groups" in words
    assert "--no-editable" in syncs[-1]


def test_the_final_stage_is_python_and_only_copies() -> None:
    base = {stage.name: stage for stage in stages()}[image().image]
    assert base.image.startswith("python:")
    assert "-slim-" in base.image
    assert base.steps == []
    assert {each for each, _ in image().steps}.isdisjoint({"RUN", "ADD"})


def test_only_the_scripts_of_the_pages_come_from_the_node_stage() -> None:
    node = [stage.name for stage in stages() if stage.image.startswith("node:")]
    shipped_files = [source for copy in image().copies() if copy.stage in node for source in copy.sources]
    licences = {"LICENSE", "NOTICE"}
    assert [
        name
        for name in shipped_files
        if not name.endswith((".js", ".mjs", ".css")) and name.rpartition("/")[2] not in licences
    ] == []


def test_the_image_has_the_scripts_of_the_pages() -> None:
    assets = image().environment()["DOCS_ASSETS"]
    files = {
        f"{copy.target}/{PurePosixPath(source).name}"
        for copy in image().copies()
        if copy.stage == "pages"
        for source in copy.sources
    }
    swagger = {SWAGGER.js_url, SWAGGER.css_url, SWAGGER.standalone_preset_js_url}
    assert {url.replace("assets", f"{assets}/swagger-ui-dist", 1) for url in swagger} <= files
    assert REDOC.js_url.replace("assets", f"{assets}/redoc/bundles", 1) in files
    assert {f"{assets}/{path}" for path in SCRIPTS.values()} <= files


def test_files_copied_from_the_checkout_exist_and_are_in_the_build_context() -> None:
    sources = [source for stage in stages() for copy in stage.copies() if copy.stage is None for source in copy.sources]
    assert "src" in sources
    assert [source for source in sources if not (PROJECT / source).exists()] == []
    assert [source for source in sources if not in_context(source)] == []


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".venv/pyvenv.cfg",
        "tests/helpers/support.py",
        "uv.lock",
        "src/market_data/__pycache__/main.pyc",
        "src/market_data/embedded/node/node_modules/redoc/package.json",
        "alembic/versions/__pycache__/0001_core.pyc",
    ],
)
def test_secrets_and_unneeded_files_are_not_in_the_build_context(path: str) -> None:
    assert not in_context(path)


def test_alembic_finds_its_files_in_the_working_directory() -> None:
    targets = {(source, copy.target) for copy in image().copies() for source in copy.sources}
    folder = image().last("WORKDIR")
    assert ("/build/alembic.ini", folder) in targets
    assert ("/build/alembic", f"{folder}/alembic") in targets


def test_the_port_is_the_same_in_command_health_check_image_and_compose() -> None:
    program, *arguments = command()
    assert program in tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    parsed = main._parser().parse_args(arguments)
    assert (parsed.host, str(parsed.port)) == ("0.0.0.0", image().last("EXPOSE"))
    assert f"'127.0.0.1', {parsed.port}" in health_check()[-1]
    assert compose()["api"]["ports"] == [f"127.0.0.1:8000:{parsed.port}"]


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (404, False), (None, False)])
def test_the_health_check_passes_only_if_health_is_200(status: int | None, healthy: bool) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if status and self.path == "/health" else 404)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        program, *arguments = [part.replace("8000", str(server.server_port)) for part in health_check()]
        if status is None:
            server.server_close()
        else:
            Thread(target=server.handle_request, daemon=True).start()
        assert program == "python"
        # The health check ignores a proxy in the environment.
        environment = {"http_proxy": "http://127.0.0.1:9"}
        ended = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False)
    assert (ended.returncode == 0) is healthy
