"""Settings, ports, probes and time-outs of the manifests, compared with the code."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from helpers.containers import compose, image
from helpers.kubernetes import KUBECTL, MISSING, OVERLAYS, SECRETS, Pod, find, overlay, pod, pods, settings
from helpers.support import PROJECT
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from market_data.api.health import READY_SECONDS
from market_data.cli import main
from market_data.middleware.hosts import PROBES
from market_data.settings import SECRETS as SECRET_SETTINGS
from market_data.settings import Settings, read_settings
from market_data.streaming.hub import HEARTBEAT_SECONDS
from market_data.telemetry import metrics

pytestmark = pytest.mark.skipif(KUBECTL is None, reason=MISSING)

SETTINGS = {field.encode_name for field in msgspec.structs.fields(Settings)} | {f"{name}_FILE" for name in SECRET_SETTINGS}

LIBPQ = {option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}

STOP_SECONDS = 10
"""Maximum time of a stop."""

every_overlay = pytest.mark.parametrize("name", OVERLAYS)


def with_secrets(given: dict[str, str], folder: Path) -> dict[str, str]:
    """Return the settings with files of a folder in place of the mounted secrets."""
    for path in given.values():
        if path.startswith(SECRETS):
            (folder / Path(path).name).write_text("postgresql://user:secret@host:5432/market_data")
    return {name: value.replace(SECRETS, str(folder)) for name, value in given.items()}


def service_pods(name: str) -> list[Pod]:
    return [each for each in pods(name) if each.labels["app.kubernetes.io/name"] == "market-data"]


@every_overlay
def test_every_variable_is_a_setting_or_one_of_libpq(name: str) -> None:
    given = settings(name)
    assert set(given) <= SETTINGS | LIBPQ
    for each in service_pods(name):
        assert {variable["name"] for variable in each.container.get("env", [])} <= SETTINGS | LIBPQ
        assert each.container["envFrom"] == [{"configMapRef": {"name": found_name(name)}}]


def found_name(name: str) -> str:
    return find("market-data-settings", "ConfigMap", name)["metadata"]["name"]


@every_overlay
def test_the_service_reads_the_settings(name: str, tmp_path: Path) -> None:
    read = read_settings(with_secrets(settings(name), tmp_path))
    assert read.database_url
    others = ("allowed_hosts", "trusted_proxies", "log_key_file")
    urls = ("database_url", "database_direct_url", "database_read_url")
    assert read == Settings(**{each: getattr(read, each) for each in (*others, *urls)}), "the rest is left at its defaults"
    assert (read.database_direct_url is not None) is (name != "local"), "the others go through PgBouncer"
    assert (read.database_read_url is not None) is (name == "replicas")
    assert "market-data.example.com" in read.hosts.names


def test_replicas_differ_from_managed_in_the_replica_and_the_number_of_services_only() -> None:
    kinds = {
        each["kind"]
        for each in overlay("replicas")
        if not any(each == other for other in overlay("managed")) and each["kind"] != "ConfigMap"
    }
    assert kinds == {"HorizontalPodAutoscaler", "Deployment", "Job", "CronJob"}, "the last three name the settings"
    assert settings("replicas") == settings("managed") | {"DATABASE_READ_URL_FILE": f"{SECRETS}/database-read-url"}


def test_the_operator_s_secrets_have_the_files_of_the_settings() -> None:
    files = pod("service", "ha").files()
    assert files == pod("migration", "ha").files()
    assert set(files) == {path for path in settings("ha").values() if path.startswith(SECRETS)}
    (volume,) = [each for each in pod("service", "ha").spec["volumes"] if each["name"] == "database"]
    keys = {item["key"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}
    assert keys == {"uri", "ca.crt"}, "as CloudNativePG names them"
    password = pod("service", "ha").container["env"][0]["valueFrom"]["secretKeyRef"]
    cluster = find("market-data-db", "Cluster", "ha")["metadata"]["name"]
    assert {*files.values(), password["name"]} == {f"{cluster}-app", f"{cluster}-ca"}
    target = conninfo_to_dict(settings("ha")["DATABASE_URL"])
    init = find("market-data-db", "Cluster", "ha")["spec"]["bootstrap"]["initdb"]
    assert (target["user"], target["dbname"]) == (init["owner"], init["database"])
    assert target["host"] == find("market-data-pooler", "Pooler", "ha")["metadata"]["name"]
    assert target["host"] in find("market-data-db", "Cluster", "ha")["spec"]["certificates"]["serverAltDNSNames"]


def test_the_port_is_that_of_the_image() -> None:
    (port,) = pod("service", "managed").container["ports"]
    assert str(port["containerPort"]) == image().last("EXPOSE") == str(Settings().port)
    (of_service,) = find("market-data", "Service", "managed")["spec"]["ports"]
    assert of_service["targetPort"] == port["name"]


def test_the_probes_are_paths_that_any_host_may_ask() -> None:
    container = pod("service", "managed").container
    probes = {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    paths = {name: probe["httpGet"]["path"] for name, probe in probes.items()}
    assert paths == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}
    assert set(paths.values()) <= PROBES
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {container["ports"][0]["name"]}
    assert probes["readiness"]["timeoutSeconds"] > READY_SECONDS
    start = probes["startup"]["periodSeconds"] * probes["startup"]["failureThreshold"]
    assert start >= 2 * Settings().database_start_timeout_seconds


def test_the_grace_period_has_room_for_the_pause_and_the_stop() -> None:
    each = pod("service", "managed")
    pause = each.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert each.spec["terminationGracePeriodSeconds"] >= pause + STOP_SECONDS + 5
    assert "at most ten seconds" in (PROJECT / "src/market_data/cli/README.md").read_text()


def test_commands_exist() -> None:
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    assert "command" not in pod("service", "managed").container, "the command of the image"
    assert pod("migration", "managed").container["command"] == ["alembic", "upgrade", "head"]
    shell, option, script = pod("backup", "managed").container["command"]
    assert (shell, option) == ("sh", "-ec")
    (program, *arguments) = re.findall(r"^market-data .*$", script, re.MULTILINE)[0].split(maxsplit=2)
    assert program in scripts
    assert main._parser().parse_args([arguments[0], "file"])


def test_prometheus_reads_a_path_of_the_service() -> None:
    (endpoint,) = find("market-data", "ServiceMonitor", "managed")["spec"]["endpoints"]
    assert endpoint["path"] in json.loads((PROJECT / "tests/http/openapi.json").read_text())["paths"]
    (port,) = find("market-data", "Service", "managed")["spec"]["ports"]
    assert endpoint["port"] == port["name"]


def test_the_ingress_is_as_patient_and_generous_as_the_service() -> None:
    annotations = find("market-data", "Ingress", "managed")["metadata"]["annotations"]
    assert float(annotations["nginx.org/proxy-read-timeout"].removesuffix("s")) >= 3 * HEARTBEAT_SECONDS
    assert int(annotations["nginx.org/client-max-body-size"].removesuffix("m")) * 2**20 >= Settings().max_body_bytes
    assert annotations["nginx.org/proxy-buffering"] == "False"
    rule = find("market-data", "Ingress", "managed")["spec"]["rules"][0]["http"]["paths"][0]
    assert annotations["nginx.org/websocket-services"] == rule["backend"]["service"]["name"] == "market-data"


@pytest.mark.parametrize("name", ["managed", "replicas", "ha"])
def test_services_scale_on_a_metric_of_the_service(name: str) -> None:
    scaler = find("market-data", "HorizontalPodAutoscaler", name)["spec"]
    (pods_metric,) = [each["pods"] for each in scaler["metrics"] if each["type"] == "Pods"]
    (metric,) = metrics.STREAM_CLIENTS.collect()
    assert pods_metric["metric"] == {"name": metric.name}
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "market-data"}


def test_databases_have_connections_for_all_services() -> None:
    """Each worker uses `POOL_SIZE` connections and four others; those through PgBouncer are limited there."""
    most = find("market-data", "HorizontalPodAutoscaler", "ha")["spec"]["maxReplicas"]
    cluster = find("market-data-db", "Cluster", "ha")["spec"]
    pooler = find("market-data-pooler", "Pooler", "ha")["spec"]
    pooled = pooler["instances"] * int(pooler["pgbouncer"]["parameters"]["default_pool_size"])
    assert int(cluster["postgresql"]["parameters"]["max_connections"]) >= pooled + 4 * (most + 1) + 20
    assert int(pooler["pgbouncer"]["parameters"]["max_client_conn"]) >= (most + 1) * Settings().pool_size


def test_the_local_database_is_that_of_compose() -> None:
    ours, theirs = find("market-data-db", "StatefulSet", "local")["spec"]["template"]["spec"], compose()["postgres"]
    (container,) = ours["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert container["image"] == theirs["image"]
    assert {name: environment[name] for name in ("POSTGRES_USER", "POSTGRES_DB")} == {
        name: theirs["environment"][name] for name in ("POSTGRES_USER", "POSTGRES_DB")
    }
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["exec"]["command"] == theirs["healthcheck"]["test"][1:]
    assert ours["terminationGracePeriodSeconds"] == int(theirs["stop_grace_period"].removesuffix("s"))


@every_overlay
def test_images_are_those_of_the_dockerfile_in_the_version_of_the_project(name: str) -> None:
    version: Any = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    images = {f"market-data:{version}": "service", f"market-data-tools:{version}": "tools"}
    for each in pods(name):
        if each.owner != "market-data-db":
            user, _, group = image(images[each.container["image"]]).last("USER").partition(":")
            context = each.spec["securityContext"]
            assert (str(context["runAsUser"]), str(context["runAsGroup"])) == (user, group)
