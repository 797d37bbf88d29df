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
from helpers.containers import Stage, command, compose, health_check, image, in_context, stages
from helpers.support import PROJECT

from market_data.api.docs import REDOC, SCRIPTS, SWAGGER
from market_data.cli import main
from market_data.settings import read_settings


def test_every_image_is_pinned_to_a_release() -> None:
    own = {stage.name for stage in stages()}
    images = [stage.image for stage in stages() if stage.image not in own]
    images += [service["image"] for service in compose().values() if "image" in service]
    assert len(images) == 6
    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+(-\w|$)", image)] == []


@pytest.mark.parametrize("name", ["service", "tools"])
def test_the_images_do_not_run_as_root(name: str) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image(name).last("USER"))


def test_a_build_without_a_target_is_the_service() -> None:
    assert stages()[-1] == Stage("service", "", [])


def test_the_tools_are_of_the_version_of_the_server() -> None:
    tools = image("tools")
    assert tools.image == "service"
    (install,) = [arguments for each, arguments in tools.steps if each == "RUN"]
    server = compose()["postgres"]["image"].rpartition("-pg")[2]
    assert {"pgbouncer", f"postgresql-client-{server}"} <= set(install.split())


def test_the_image_has_no_embedded_engine_and_no_development_tools() -> None:
    runs = [arguments for stage in stages() for each, arguments in stage.steps if each == "RUN"]
    syncs = [words for words in map(shlex.split, " && ".join(runs).split(" && ")) if words[:2] == ["uv", "sync"]]
    assert syncs
    for words in syncs:
        assert set(words[2:]) <= {"--no-default-groups", "--no-install-project", "--no-editable", "$EXTRAS"}
        assert "--no-default-groups" in words
        assert "$EXTRAS" in words
    assert image("build").last("ARG") == 'EXTRAS=""'
    assert "--no-editable" in syncs[-1]


def test_bytecode_is_compiled_for_the_image_only() -> None:
    """In a checkout, uv would print a line before the output of each command."""
    assert "compile-bytecode" not in tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["uv"]
    (build,) = [stage for stage in stages() if stage.name == "build"]
    assert build.environment()["UV_COMPILE_BYTECODE"] == "1"


def test_the_image_of_the_service_is_python_and_only_copies() -> None:
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
    assert (parsed.host, parsed.port) == (None, None), "an option would win over the environment of a container"
    settings = read_settings({name: value for name, value in image().environment().items() if name != "DOCS_ASSETS"})
    assert (settings.listen_host, str(settings.port)) == ("0.0.0.0", image().last("EXPOSE"))
    assert f"or {settings.port})" in health_check()[-1]
    assert compose()["api"]["ports"] == [f"127.0.0.1:8000:{settings.port}"]


@pytest.mark.parametrize("in_text", [True, False], ids=["default port", "PORT"])
@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (404, False), (None, False)])
def test_the_health_check_passes_only_if_health_is_200(status: int | None, healthy: bool, in_text: bool) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if status and self.path == "/health" else 404)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        port = str(server.server_port) if in_text else "8000"
        program, *arguments = [part.replace("8000", port) for part in health_check()]
        if status is None:
            server.server_close()
        else:
            Thread(target=server.handle_request, daemon=True).start()
        assert program == "python"
        # The health check ignores a proxy in the environment.
        environment = {"http_proxy": "http://127.0.0.1:9"} | ({} if in_text else {"PORT": str(server.server_port)})
        ended = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False)
    assert (ended.returncode == 0) is healthy
