"""The container files, against the code: there need not be a container engine where the tests run."""

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
"""Settings that compose leaves alone: there is no embedded engine in the image, which knows where its scripts are."""


class Copy(NamedTuple):
    stage: str | None
    """The stage that it copies from; None for the checkout."""
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
    """The Dockerfile's stages in order; the last one is what is shipped."""
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


def shipped() -> Stage:
    return stages()[-1]


def command() -> list[str]:
    return json.loads(shipped().last("CMD"))


def health_check() -> list[str]:
    return json.loads(shipped().last("HEALTHCHECK").partition(" CMD ")[2])


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a path through; the last pattern that matches it, or a folder it is in, decides."""
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
    """The services, with `${NAME:-default}` filled in from an environment as compose does it."""

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


def test_the_image_runs_as_a_user_that_is_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", shipped().last("USER"))


def test_the_image_has_no_embedded_engine_and_no_development_tools() -> None:
    runs = [arguments for stage in stages() for each, arguments in stage.steps if each == "RUN"]
    syncs = [words for words in map(shlex.split, " && ".join(runs).split(" && ")) if words[:2] == ["uv", "sync"]]
    assert syncs
    for words in syncs:
        assert set(words[2:]) <= {"--no-default-groups", "--no-install-project", "--no-editable"}
        assert "--no-default-groups" in words
    assert "--no-editable" in syncs[-1]


def test_the_shipped_stage_is_python_with_copies_and_installs_nothing() -> None:
    base = {stage.name: stage for stage in stages()}[shipped().image]
    assert base.image.startswith("python:")
    assert "-slim-" in base.image
    assert base.steps == []
    assert {each for each, _ in shipped().steps}.isdisjoint({"RUN", "ADD"})


def test_of_the_node_stage_only_the_scripts_of_the_pages_are_shipped() -> None:
    node = [stage.name for stage in stages() if stage.image.startswith("node:")]
    shipped_files = [source for copy in shipped().copies() if copy.stage in node for source in copy.sources]
    licences = {"LICENSE", "NOTICE"}
    assert [
        name
        for name in shipped_files
        if not name.endswith((".js", ".mjs", ".css")) and name.rpartition("/")[2] not in licences
    ] == []


def test_the_pages_find_their_scripts_in_the_image() -> None:
    assets = shipped().environment()["DOCS_ASSETS"]
    files = {
        f"{copy.target}/{PurePosixPath(source).name}"
        for copy in shipped().copies()
        if copy.stage == "pages"
        for source in copy.sources
    }
    swagger = {SWAGGER.js_url, SWAGGER.css_url, SWAGGER.standalone_preset_js_url}
    assert {url.replace("/assets", f"{assets}/swagger-ui-dist") for url in swagger} <= files
    assert REDOC.js_url.replace("/assets", f"{assets}/redoc/bundles") in files
    assert {f"{assets}/{path}" for path in SCRIPTS.values()} <= files


def test_all_that_is_copied_from_the_checkout_is_there_and_sent_to_the_build() -> None:
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
def test_secrets_and_what_the_image_does_not_need_are_not_sent_to_the_build(path: str) -> None:
    assert not in_context(path)


def test_alembic_finds_its_files_in_the_working_directory() -> None:
    targets = {(source, copy.target) for copy in shipped().copies() for source in copy.sources}
    folder = shipped().last("WORKDIR")
    assert ("/build/alembic.ini", folder) in targets
    assert ("/build/alembic", f"{folder}/alembic") in targets


def test_the_image_starts_the_service_on_the_port_that_it_exposes_checks_and_publishes() -> None:
    program, *arguments = command()
    assert program in tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    parsed = main._parser().parse_args(arguments)
    assert (parsed.host, str(parsed.port)) == ("0.0.0.0", shipped().last("EXPOSE"))
    assert f"'127.0.0.1', {parsed.port}" in health_check()[-1]
    assert compose()["api"]["ports"] == [f"127.0.0.1:8000:{parsed.port}"]


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (404, False), (None, False)])
def test_the_health_check_passes_only_while_the_service_says_that_it_is_healthy(status: int | None, healthy: bool) -> None:
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
        # A proxy in the environment has no say in it.
        environment = {"http_proxy": "http://127.0.0.1:9"}
        ended = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False)
    assert (ended.returncode == 0) is healthy


def test_compose_has_the_names_of_the_runbook() -> None:
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
def test_the_service_reaches_the_database_whatever_its_password_is(given: dict[str, str]) -> None:
    api, database = compose(given)["api"]["environment"], compose(given)["postgres"]["environment"]
    assert conninfo_to_dict(api["DATABASE_URL"]) == {
        "host": "postgres",
        "port": "5432",
        "user": database["POSTGRES_USER"],
        "dbname": database["POSTGRES_DB"],
    }
    assert api["PGPASSWORD"] == database["POSTGRES_PASSWORD"] == given.get("POSTGRES_PASSWORD", "marketdata")


def test_the_service_waits_until_the_database_takes_connections_over_the_network() -> None:
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


def test_compose_passes_every_setting_on_that_matters_in_a_container() -> None:
    settings = {field.encode_name for field in msgspec.structs.fields(Settings)}
    assert settings >= EMBEDDED_ONLY
    assert set(compose()["api"]["environment"]) == settings - EMBEDDED_ONLY | {"PGPASSWORD"}
    passed = settings - EMBEDDED_ONLY - {"DATABASE_URL"}
    given = {name: f"given for {name}" for name in passed}
    environment = compose(given)["api"]["environment"]
    assert {name: environment[name] for name in passed} == given


def test_the_service_may_take_the_ten_seconds_that_its_stop_can_last() -> None:
    assert int(compose()["api"]["stop_grace_period"].removesuffix("s")) > 10


@pytest.mark.parametrize("name", ["api", "prometheus", "grafana", "analyst"])
def test_containers_run_without_rights_that_they_do_not_need(name: str) -> None:
    service = compose()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_observability_is_a_profile_of_its_own() -> None:
    profiles = {name: service["profiles"] for name, service in compose().items() if "profiles" in service}
    assert profiles == {name: ["observability"] for name in ("prometheus", "grafana", "analyst")}


def test_every_configuration_file_is_there_and_mounted_once_or_more() -> None:
    files = {name: PROJECT / config["file"] for name, config in compose_file()["configs"].items()}
    assert [path for path in files.values() if not path.is_file()] == []
    assert set(files.values()) == set((PROJECT / ".observability").iterdir())
    mounts = [mount for service in compose().values() for mount in service.get("configs", [])]
    assert {mount["source"] for mount in mounts} == set(files)
    # Unlike a file, which is mounted, contents given in compose.yaml can't be put into a container that is read-only.
    assert [config for config in compose_file()["configs"].values() if set(config) != {"file"}] == []


def test_grafana_waits_for_the_password_that_it_reads_the_database_with() -> None:
    services = compose({"ANALYST_PASSWORD": "p@ss$w'rd", "POSTGRES_PASSWORD": "another"})
    assert services["grafana"]["depends_on"] == {"analyst": {"condition": "service_completed_successfully"}}
    assert services["analyst"]["depends_on"] == {"api": {"condition": "service_healthy"}}
    environment = services["analyst"]["environment"]
    assert environment["ANALYST_PASSWORD"] == services["grafana"]["environment"]["ANALYST_PASSWORD"] == "p@ss$w'rd"
    assert environment["PGPASSWORD"] == "another"
    assert services["analyst"]["image"] == services["postgres"]["image"]
