"""The steps of the manifests against a running service: probes, metrics, stop, migration, backup, PgBouncer."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from helpers.backups import Instances
from helpers.kubernetes import KUBECTL, MISSING, SECRETS, find, pod, settings
from helpers.pgbouncer import PROGRAM, pgbouncer_process
from helpers.read_only import can_be_read_only, read_only
from helpers.service import Service, eventually
from helpers.support import PROJECT, Databases

pytestmark = pytest.mark.skipif(KUBECTL is None, reason=MISSING)

on_a_read_only_file_system = pytest.mark.skipif(not can_be_read_only(), reason="needs root, to mount file systems")

POD_HOST = "10.244.1.7:8000"
"""`Host` of requests of kubelet and Prometheus."""

PROGRAMS = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def environment(database_url: str, folder: Path, overlay: str = "local") -> dict[str, str]:
    """Return the settings of an overlay, with files of a folder in place of the mounted secrets."""
    given = settings(overlay)
    for path in given.values():
        if path.startswith(SECRETS):
            (folder / Path(path).name).write_text(database_url)
    return {name: value.replace(SECRETS, str(folder)) for name, value in given.items()}


@pytest.fixture(scope="module")
def running(session_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, httpx.Client]]:
    """Yield a service of two workers with a rate limit, which both need files, and a client."""
    folder, temporary = tmp_path_factory.mktemp("pod"), tmp_path_factory.mktemp("tmp")

    class ReadOnlyService(Service):
        prefix = read_only(temporary)

    (folder / "swagger-ui-dist").mkdir()  # otherwise the service installs the scripts of its pages, which the image has
    further = {"WORKERS": "2", "RATE_LIMIT": "1000", "DOCS_ASSETS": str(folder), "FEED_ENABLED": "false"}
    service = ReadOnlyService(folder, **environment(session_database, folder), **further)
    try:
        with httpx.Client(base_url=service.wait_until_ready(), timeout=30) as client:
            yield service, client
    finally:
        service.end()


@on_a_read_only_file_system
def test_probes_pass_on_a_read_only_file_system(running: tuple[Service, httpx.Client]) -> None:
    container = pod("service", "managed").container
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = container[name]["httpGet"]["path"]
        # The embedded engine may be slow while other tests run.
        assert eventually(lambda path=path: running[1].get(path, headers={"Host": POD_HOST}).status_code == 200, 60)


@on_a_read_only_file_system
def test_prometheus_reads_the_metric_that_services_scale_on(running: tuple[Service, httpx.Client]) -> None:
    (endpoint,) = find("market-data", "ServiceMonitor", "managed")["spec"]["endpoints"]
    response = running[1].get(endpoint["path"], headers={"Host": POD_HOST})
    assert response.status_code == 200
    scaler: dict[str, Any] = find("market-data", "HorizontalPodAutoscaler", "managed")["spec"]
    (metric,) = [each["pods"]["metric"]["name"] for each in scaler["metrics"] if each["type"] == "Pods"]
    assert f'\n{metric}{{transport="sse"}} ' in response.text


@on_a_read_only_file_system
@pytest.mark.parametrize(
    ("host", "status"),
    [("market-data.example.com", 200), ("market-data.market-data.svc:80", 200), ("market-data", 200), ("example.org", 421)],
)
def test_hosts_of_the_ingress_and_of_the_service_are_known(
    running: tuple[Service, httpx.Client], host: str, status: int
) -> None:
    rules = find("market-data", "Ingress", "managed")["spec"]["rules"]
    assert [rule["host"] for rule in rules] == ["market-data.example.com"]
    assert running[1].get("/", headers={"Host": host}).status_code == status


@on_a_read_only_file_system
def test_the_service_stops_within_the_grace_period_and_leaves_no_files(running: tuple[Service, httpx.Client]) -> None:
    """The last test of this service."""
    service, client = running
    specification = pod("service", "managed").spec
    pause = specification["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    with client.stream("GET", "/stream") as stream:
        assert stream.status_code == 200
        service.signal(signal.SIGTERM)
        assert service.wait(specification["terminationGracePeriodSeconds"] - pause) == 0
    # The Secret with the key of the transparency log is optional.
    lines = [line for line in service.text.splitlines() if "LOG_KEY_FILE" not in line]
    assert "Read-only file system" not in "\n".join(lines)


@on_a_read_only_file_system
def test_the_job_migrates_the_database_of_its_secret(session_database: str, tmp_path: Path) -> None:
    """From an empty database it takes long on the embedded engine; other tests migrate those."""
    command = [*read_only(tmp_path), *pod("migration", "managed").container["command"]]
    variables = {**os.environ, **PROGRAMS, **environment(session_database, tmp_path, "managed")}
    ended = subprocess.run(command, cwd=PROJECT, env=variables, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "PostgresqlImpl" in ended.stdout + ended.stderr


def test_the_backup_replaces_old_ones(tmp_path: Path, migrated_seed: Path, new_database: Databases) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    *shell, script = pod("backup", "managed").container["command"]
    command = [*shell, script.replace("/backups", str(backups))]

    def age(name: str, days: int) -> str:
        path = backups / name
        path.touch()
        changed = time.time() - days * 86400
        os.utime(path, (changed, changed))
        return name

    kept = {age("market_data-20260101T023000Z.dump", 10), age("notes.txt", 100)}
    for old in ("market_data-20250101T023000Z.dump", ".market_data-20250101T023000Z.dump.0123abcd.partial"):
        age(old, 20)
    before = {path.name for path in backups.iterdir()}
    with Instances(tmp_path, migrated_seed, new_database) as instances:
        variables = {**os.environ, **PROGRAMS, **instances.migrated().environment}
        unreachable = variables | {"DATABASE_URL": "postgresql://postgres@127.0.0.1:1/postgres"}
        failed = subprocess.run(command, env=unreachable, capture_output=True, text=True, check=False)
        assert failed.returncode
        assert {path.name for path in backups.iterdir()} == before, "nothing is deleted without a new backup"
        saved = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        assert saved.returncode == 0, saved.stderr
    (new,) = {path.name for path in backups.iterdir()} - kept
    assert new.startswith("market_data-")
    assert new.endswith("Z.dump")
    assert new not in before


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")
def test_pgbouncer_finishes_its_transactions_before_it_stops(session_database: str) -> None:
    configuration = find("market-data-pgbouncer", "ConfigMap", "managed")["data"]["pgbouncer.ini"]
    container = find("market-data-pgbouncer", "Deployment", "managed")["spec"]["template"]["spec"]["containers"][0]
    (port,) = container["ports"]
    assert f"listen_port = {port['containerPort']}" in configuration
    *shell, script = container["lifecycle"]["preStop"]["exec"]["command"]
    with pgbouncer_process(session_database, configuration) as (url, process), psycopg.connect(url) as connection:
        connection.execute("SELECT 1")
        shortened = script.replace("kill -INT 1", f"kill -INT {process.pid}").replace("sleep 5", "sleep 0")
        subprocess.run([*shell, shortened.replace("sleep 10", "sleep 0")], check=True)
        assert connection.execute("SELECT 2").fetchall() == [(2,)]
        assert process.poll() is None
        connection.commit()
        assert process.wait(10) == 0
