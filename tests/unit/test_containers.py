"""Dockerfile and compose.yaml, compared with the code. Needs no container engine."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import PurePosixPath
from threading import Thread
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml
from helpers.support import PROJECT
from psycopg.conninfo import conninfo_to_dict

from market_data.api.docs import REDOC, SCRIPTS, SWAGGER
from market_data.cli import main
from market_data.settings import Settings, read_settings

EMBEDDED_ONLY = {"MARKET_DATA_HOME", "EMBEDDED_PORT", "DOCS_ASSETS"}
"""Settings that compose does not pass: the image has no embedded engine, and sets the path of its scripts itself."""


class Copy(NamedTuple):
    stage: str | None
    """Stage that it copies from; None for the checkout."""
    sources: list[str]
    target: str


class Stage(NamedTuple):
    image: str
    name: str
    steps: list[tuple[str, str]]
    """Instructions with their arguments."""

    def last(self, instruction: str) -> str:
        return [arguments for each, arguments in self.steps if each == instruction][-1]

    def environment(self) -> dict[str, str]:
        pairs = [pair for each, arguments in self.steps if each == "ENV" for pair in shlex.split(arguments)]
        return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}

    def copies(self) -> Iterator[Copy]:
        folder = "/"
        for instruction, arguments in self.steps:
            if instruction == "WORKDIR":
                folder = arguments
            if instruction in {"COPY", "ADD"}:
                words = shlex.split(arguments)
                options = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--"))
                *sources, target = [word for word in words if not word.startswith("--")]
                yield Copy(options.get("from"), sources, str(PurePosixPath(folder, target)))


def stages() -> list[Stage]:
    """Return the stages of the Dockerfile in order; the last one is the image."""
    text = (PROJECT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found: list[Stage] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        instruction, arguments = line.split(maxsplit=1)
        if instruction == "FROM":
            image, *name = arguments.split(" AS ")
            found.append(Stage(image, name[0] if name else "", []))
        else:
            found[-1].steps.append((instruction, arguments))
    return found


def image() -> Stage:
    return stages()[-1]


def command() -> list[str]:
    return json.loads(image().last("CMD"))


def health_check() -> list[str]:
    return json.loads(image().last("HEALTHCHECK").partition(" CMD ")[2])


def in_context(path: str) -> bool:
    """Return True if .dockerignore includes a path: the last pattern that matches it, or one of its folders, decides."""
    through = True
    for line in (PROJECT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        for part in (PurePosixPath(path), *PurePosixPath(path).parents[:-1]):
            anywhere = pattern.startswith("**/") and fnmatchcase(part.name, pattern.removeprefix("**/"))
            if anywhere or (str(part).count("/") == pattern.count("/") and fnmatchcase(str(part), pattern)):
                through = line.startswith("!")
    return through


def compose_file() -> dict[str, Any]:
    return yaml.safe_load((PROJECT / "compose.yaml").read_text())


def compose(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the services, with `${NAME:-default}` replaced as compose does."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [fill(each) for each in value]
        if isinstance(value, str):
            return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: (environment or {}).get(match[1]) or match[2], value)
        return value

    return fill(compose_file())["services"]


def published(environment: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    return {name: service["ports"] for name, service in compose(environment).items() if "ports" in service}


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
    assert {url.replace("/assets", f"{assets}/swagger-ui-dist") for url in swagger} <= files
    assert REDOC.js_url.replace("/assets", f"{assets}/redoc/bundles") in files
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
        "tests/support.py",
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


def test_compose_uses_the_documented_names() -> None:
    services = compose()
    assert {name for name, service in services.items() if "profiles" not in service} == {"api", "postgres"}
    assert services["postgres"]["container_name"] == "market-data-db"
    assert services["postgres"]["environment"]["POSTGRES_USER"] == "marketdata"
    assert services["postgres"]["environment"]["POSTGRES_DB"] == "market_data"


def test_every_published_port_is_bound_to_loopback() -> None:
    assert published() == {
        "api": ["127.0.0.1:8000:8000"],
        "postgres": ["127.0.0.1:5432:5432"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }
    moved = {"API_PORT": "8001", "POSTGRES_PORT": "5433", "PROMETHEUS_PORT": "9091", "GRAFANA_PORT": "3001"}
    assert published(moved) == {
        "api": ["127.0.0.1:8001:8000"],
        "postgres": ["127.0.0.1:5433:5432"],
        "prometheus": ["127.0.0.1:9091:9090"],
        "grafana": ["127.0.0.1:3001:3000"],
    }


@pytest.mark.parametrize("given", [{}, {"POSTGRES_PASSWORD": "p@ss:w/rd?#% &="}])
def test_the_service_connects_to_the_database_with_any_password(given: dict[str, str]) -> None:
    api, database = compose(given)["api"]["environment"], compose(given)["postgres"]["environment"]
    assert conninfo_to_dict(api["DATABASE_URL"]) == {
        "host": "postgres",
        "port": "5432",
        "user": database["POSTGRES_USER"],
        "dbname": database["POSTGRES_DB"],
    }
    assert api["PGPASSWORD"] == database["POSTGRES_PASSWORD"] == given.get("POSTGRES_PASSWORD", "marketdata")


def test_the_service_waits_until_the_database_accepts_tcp_connections() -> None:
    assert compose()["api"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    check = compose()["postgres"]["healthcheck"]["test"]
    assert check[:2] == ["CMD", "pg_isready"]
    assert {"--host=127.0.0.1", "--username=marketdata", "--dbname=market_data"} <= set(check)


def test_the_data_outlives_its_containers() -> None:
    mounts = [mount for service in compose().values() for mount in service.get("volumes", [])]
    assert mounts == ["database:/var/lib/postgresql/data", "metrics:/prometheus"]
    assert {mount.partition(":")[0] for mount in mounts} == set(compose_file()["volumes"])


def test_compose_leaves_the_settings_at_their_defaults() -> None:
    environment = compose()["api"]["environment"]
    assert read_settings(environment) == Settings(database_url=environment["DATABASE_URL"])


def test_compose_passes_every_setting_except_those_of_the_embedded_engine() -> None:
    settings = {field.encode_name for field in msgspec.structs.fields(Settings)}
    assert settings >= EMBEDDED_ONLY
    assert set(compose()["api"]["environment"]) == settings - EMBEDDED_ONLY | {"PGPASSWORD"}
    passed = settings - EMBEDDED_ONLY - {"DATABASE_URL"}
    given = {name: f"given for {name}" for name in passed}
    environment = compose(given)["api"]["environment"]
    assert {name: environment[name] for name in passed} == given


def test_the_grace_period_is_longer_than_the_ten_seconds_of_a_shutdown() -> None:
    assert int(compose()["api"]["stop_grace_period"].removesuffix("s")) > 10


@pytest.mark.parametrize("name", ["api", "prometheus", "grafana", "analyst"])
def test_containers_are_read_only_and_unprivileged(name: str) -> None:
    service = compose()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_observability_is_a_separate_profile() -> None:
    profiles = {name: service["profiles"] for name, service in compose().items() if "profiles" in service}
    assert profiles == {name: ["observability"] for name in ("prometheus", "grafana", "analyst")}


def test_every_configuration_file_exists_and_is_mounted() -> None:
    files = {name: PROJECT / config["file"] for name, config in compose_file()["configs"].items()}
    assert [path for path in files.values() if not path.is_file()] == []
    assert set(files.values()) == set((PROJECT / ".observability").iterdir())
    mounts = [mount for service in compose().values() for mount in service.get("configs", [])]
    assert {mount["source"] for mount in mounts} == set(files)
    # Inline contents, unlike files, can't be mounted into a read-only container.
    assert [config for config in compose_file()["configs"].values() if set(config) != {"file"}] == []


def test_grafana_starts_after_the_password_of_its_database_role_is_set() -> None:
    services = compose({"ANALYST_PASSWORD": "p@ss$w'rd", "POSTGRES_PASSWORD": "another"})
    assert services["grafana"]["depends_on"] == {"analyst": {"condition": "service_completed_successfully"}}
    assert services["analyst"]["depends_on"] == {"api": {"condition": "service_healthy"}}
    environment = services["analyst"]["environment"]
    assert environment["ANALYST_PASSWORD"] == services["grafana"]["environment"]["ANALYST_PASSWORD"] == "p@ss$w'rd"
    assert environment["PGPASSWORD"] == "another"
    assert services["analyst"]["image"] == services["postgres"]["image"]
