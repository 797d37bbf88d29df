"""compose.yaml, compared with the code. Needs no container engine."""

import re
import subprocess
import tempfile
from pathlib import Path

import msgspec
import pytest
import yaml
from helpers.containers import PASSWORDS, compose, compose_file, published
from helpers.support import PROJECT
from psycopg.conninfo import conninfo_to_dict

from market_data.settings import Settings, read_settings

NOT_PASSED = {"MARKET_DATA_HOME", "EMBEDDED_PORT", "DOCS_ASSETS", "LISTEN_HOST", "PORT", "LOG_KEY_FILE"}
"""Settings that compose does not pass: the image has no embedded engine, and sets its address and its scripts."""


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
    assert (
        api["PGPASSWORD"] == database["POSTGRES_PASSWORD"] == given.get("POSTGRES_PASSWORD", "given for POSTGRES_PASSWORD")
    )


def test_the_service_waits_until_the_database_accepts_tcp_connections() -> None:
    assert compose()["api"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    check = compose()["postgres"]["healthcheck"]["test"]
    assert check[:2] == ["CMD", "pg_isready"]
    assert {"--host=127.0.0.1", "--username=marketdata", "--dbname=market_data"} <= set(check)


def test_the_data_outlives_its_containers() -> None:
    mounts = [mount for service in compose().values() for mount in service.get("volumes", [])]
    assert mounts == ["log-key:/var/lib/market-data", "database:/var/lib/postgresql/data", "metrics:/prometheus"]
    assert {mount.partition(":")[0] for mount in mounts} == set(compose_file()["volumes"])


def test_compose_leaves_the_settings_at_their_defaults() -> None:
    environment = compose()["api"]["environment"]
    hosts = environment["ALLOWED_HOSTS"]
    assert read_settings(environment) == Settings(database_url=environment["DATABASE_URL"], allowed_hosts=hosts)


def test_the_service_accepts_loopback_names_and_the_one_that_prometheus_uses() -> None:
    config = yaml.safe_load((PROJECT / ".observability" / "prometheus.yml").read_text())
    targets = {target for job in config["scrape_configs"] for each in job["static_configs"] for target in each["targets"]}
    assert compose()["api"]["environment"]["ALLOWED_HOSTS"].split(",") == ["localhost", "api"]
    assert "api:8000" in targets


def test_no_password_has_a_default_and_the_readme_has_a_command_that_makes_them_all() -> None:
    text = (PROJECT / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w*PASSWORD):\?", text)) == set(PASSWORDS)
    assert re.findall(r"\$\{\w*PASSWORD(?!:\?)", text) == []
    readme = (PROJECT / "src/market_data/cli/README.md").read_text()
    (line,) = [line.strip() for line in readme.splitlines() if "openssl rand" in line]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["/bin/sh", "-c", line], cwd=folder, check=True)
        made = dict(each.split("=") for each in Path(folder, ".env").read_text().splitlines())
        assert Path(folder, ".env").stat().st_mode & 0o777 == 0o600
    assert set(made) == set(PASSWORDS)
    assert len(set(made.values())) == 3
    assert all(re.fullmatch("[0-9a-f]{48}", password) for password in made.values())


def test_grafana_needs_a_login() -> None:
    environment = compose()["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD"] == "given for GRAFANA_PASSWORD"
    assert not [name for name in environment if name.startswith("GF_AUTH_")]


def test_compose_passes_every_setting_except_those_of_the_image() -> None:
    settings = {field.encode_name for field in msgspec.structs.fields(Settings)}
    assert settings >= NOT_PASSED
    assert set(compose()["api"]["environment"]) == settings - NOT_PASSED | {"PGPASSWORD"}
    passed = settings - NOT_PASSED - {"DATABASE_URL"}
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
    assert set(files.values()) == set((PROJECT / ".observability").iterdir()) - {
        PROJECT / ".observability/kustomization.yaml"
    }
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
