"""Commands and overlays of `.kubernetes/README.md`, run without a cluster."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.kubernetes import FOLDER, KUBECTL, MISSING, OVERLAYS, SECRETS, find, kustomize, pods, settings
from helpers.support import PROJECT

pytestmark = pytest.mark.skipif(KUBECTL is None, reason=MISSING)

README = (FOLDER / "README.md").read_text()

COMMANDS = re.findall(r"^    (.*)$", README, re.MULTILINE)

BLOCKS = [yaml.safe_load(block) for block in re.findall(r"^ *```yaml\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL)]


def secrets() -> list[dict[str, Any]]:
    """Return the Secrets that the commands create, in order."""
    found: list[dict[str, Any]] = []
    names = ["PASSWORD", "ACCESS_KEY_ID", "ACCESS_SECRET_KEY", "KEY", "URL"]
    variables = dict.fromkeys(names, "secret")
    for command in COMMANDS:
        if "create secret" in command:
            assert KUBECTL
            offline = command.replace("kubectl", KUBECTL).replace("--from-file=ca.crt", "--from-literal=ca.crt=certificate")
            offline = offline.replace("--from-file=log-key.pem", "--from-literal=log-key.pem=key")
            shell = ["sh", "-ec", f"{offline} --dry-run=client -o yaml"]
            found.append(yaml.safe_load(subprocess.run(shell, env=variables, capture_output=True, check=True).stdout))
    return found


def own_overlay(folder: Path, kustomization: dict[str, Any]) -> list[dict[str, Any]]:
    """Render an overlay beside those of the project."""
    for name in (".kubernetes", ".observability"):
        shutil.copytree(PROJECT / name, folder / name)
    own = folder / ".kubernetes" / "overlays" / "production"
    own.mkdir()
    (own / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    shutil.copy(FOLDER / "overlays" / "managed" / "pgbouncer.ini", own)
    return kustomize(own)


def test_the_table_names_the_overlays() -> None:
    assert tuple(sorted(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))) == OVERLAYS


def test_commands_create_the_secrets_with_the_keys_that_pods_use() -> None:
    local, managed, replicas, backups, *_ = secrets()
    for name, secret in (("local", local), ("managed", managed), ("replicas", replicas)):
        assert secret["metadata"] == {"name": "market-data-database", "namespace": "market-data"}
        used = {path.removeprefix(f"{SECRETS}/") for path in settings(name).values() if path.startswith(SECRETS)}
        for pod in pods(name):
            for variable in pod.container.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["name"] == "market-data-database"
                    used.add(reference["key"])
            if pod.owner == "market-data-pgbouncer":
                used |= {path.removeprefix(f"{SECRETS}/") for path in pod.files()}
        assert set(secret["data"]) == used
    store = find("market-data-backups", "ObjectStore", "ha")["spec"]["configuration"]["s3Credentials"]
    assert {each["name"] for each in store.values()} == {backups["metadata"]["name"]}
    assert {each["key"] for each in store.values()} == set(backups["data"])


def test_pgbouncer_reads_files_of_its_secret() -> None:
    (pgbouncer,) = [pod for pod in pods("managed") if pod.owner == "market-data-pgbouncer"]
    configuration = find("market-data-pgbouncer", "ConfigMap", "managed")["data"]["pgbouncer.ini"]
    assert set(re.findall(rf"{SECRETS}\S+", configuration)) == set(pgbouncer.files())


def test_an_overlay_of_one_s_own_changes_images_settings_and_hosts(tmp_path: Path) -> None:
    (production,) = [block for block in BLOCKS if "resources" in block]
    rendered = own_overlay(tmp_path, production)
    text = yaml.safe_dump_all(rendered)
    assert "image: images.example.org/market-data:" in text
    assert "image: images.example.org/market-data-tools:" in text
    assert re.findall(r"image: market-data", text) == []
    (ingress,) = [each for each in rendered if each["kind"] == "Ingress"]
    assert "market-data.example.com" not in yaml.safe_dump(ingress)
    given = [each["data"] for each in rendered if each["metadata"]["name"].startswith("market-data-settings-")]
    assert [each["FEED_ENABLED"] for each in given] == ["false"]
    assert (
        given[0].items()
        >= {name: settings("managed")[name] for name in settings("managed") if name.endswith("_FILE")}.items()
    )


@pytest.mark.parametrize(("base", "kind"), [("managed", "ServiceMonitor"), ("ha", "Cluster")])
def test_further_patches_apply(base: str, kind: str, tmp_path: Path) -> None:
    (patch,) = [block for block in BLOCKS if kind in [each["target"]["kind"] for each in block.get("patches", ())]]
    header = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [f"../{base}"]}
    (patched,) = [each for each in own_overlay(tmp_path, header | patch) if each["kind"] == kind]
    assert patched != find(patched["metadata"]["name"], kind, base)


def test_prometheus_adapter_exposes_the_metric_of_the_scaler() -> None:
    ((rule,),) = [block["rules"] for block in BLOCKS if "rules" in block]
    scaler = find("market-data", "HorizontalPodAutoscaler", "managed")["spec"]
    (name,) = [each["pods"]["metric"]["name"] for each in scaler["metrics"] if each["type"] == "Pods"]
    assert rule["seriesQuery"].startswith(f"{name}{{")
    assert any(command.endswith(f"/pods/*/{name}'") for command in COMMANDS)


def test_the_restore_is_the_backup_with_another_command_and_secret(tmp_path: Path) -> None:
    backup = find("market-data-backup", "CronJob", "managed")["spec"]["jobTemplate"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "restore"}, **backup}
    (tmp_path / "restore.yaml").write_text(yaml.safe_dump(job))
    (command,) = [each.rpartition(" | ")[0] for each in COMMANDS if "patch --local" in each]
    assert KUBECTL
    shell = ["sh", "-ec", command.replace("kubectl", KUBECTL, 1)]
    patched = yaml.safe_load(subprocess.run(shell, cwd=tmp_path, capture_output=True, check=True).stdout)
    specification = patched["spec"]["template"]["spec"]
    (container,) = specification["containers"]
    assert container["command"][:2] == ["market-data", "restore"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert Path(container["command"][2]).parent == Path(mounts["backups"])
    (database,) = [each["secret"]["secretName"] for each in specification["volumes"] if each["name"] == "database"]
    (restore,) = [each for each in secrets() if each["metadata"]["name"] == database]
    paths = [path for name, path in settings("managed").items() if name.endswith("_URL_FILE")]
    assert {Path(path).name for path in paths} <= set(restore["data"])
