"""Parsing of the reports of pip-audit and npm audit in CI."""

import json
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest
from helpers.support import PROJECT

spec = spec_from_file_location("audit", PROJECT / ".ci" / "audit.py")
assert spec
assert spec.loader
audit: Any = module_from_spec(spec)
spec.loader.exec_module(audit)

SKIPPED = {"name": "a", "skip_reason": "Dependency not found"}
SOUND = {"name": "b", "version": "1.0", "vulns": []}
BAD = {"name": "c", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}, {"id": "X", "fix_versions": []}]}
METADATA = {"dependencies": {"total": 9}}
ADVICE = {"range": "<2", "severity": "high", "fixAvailable": True}


def python(*packages: Any) -> Any:
    return audit.parse_pip_audit(json.dumps({"dependencies": packages, "fixes": []}))


def test_vulnerable_python_packages_are_named():
    assert python(SKIPPED, SOUND) == ([], "1 of 2 packages audited")
    assert python(SKIPPED, SOUND, BAD) == (
        ["c 1.0: PYSEC-1, fixed in 1.1", "c 1.0: X, fixed in no version"],
        "2 of 3 packages audited",
    )


def test_vulnerable_npm_packages_are_named():
    assert audit.parse_npm_audit(json.dumps({"metadata": METADATA, "vulnerabilities": {}})) == ([], "9 packages audited")
    found, _ = audit.parse_npm_audit(json.dumps({"metadata": METADATA, "vulnerabilities": {"x": ADVICE}}))
    assert found == ["x <2: high, fixed in a newer version"]


@pytest.mark.parametrize(
    ("parse", "report"),
    [
        ("parse_pip_audit", json.dumps({"dependencies": [SKIPPED]})),
        ("parse_pip_audit", json.dumps({"dependencies": []})),
        ("parse_pip_audit", "Traceback"),
        ("parse_npm_audit", json.dumps({"message": "405 Method Not Allowed", "error": {"summary": ""}})),
        ("parse_npm_audit", json.dumps({"error": {"summary": "no such host"}})),
        ("parse_npm_audit", "[]"),
        ("parse_npm_audit", ""),
    ],
)
def test_missing_data_is_not_reported_as_no_vulnerability(parse: str, report: str):
    with pytest.raises(audit.AuditUnavailable, match=r"\w"):
        getattr(audit, parse)(report)


def test_vulnerabilities_fail_and_missing_data_does_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def unavailable() -> Any:
        raise audit.AuditUnavailable("no network")

    monkeypatch.setattr(audit, "audit_python", unavailable)
    monkeypatch.setattr(audit, "audit_npm", unavailable)
    assert audit.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "pip-audit: skipped, its data is unavailable: no network",
        "npm audit: skipped, its data is unavailable: no network",
    ]
    monkeypatch.setattr(audit, "audit_npm", lambda: (["x <2: high"], "9 packages audited"))
    assert audit.main() == 1
    assert "vulnerable: x <2: high" in capsys.readouterr().out


def test_a_hanging_command_is_killed_with_its_children():
    started = time.monotonic()
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    with pytest.raises(audit.AuditUnavailable, match=r"within 1 s"):
        audit.run(1, sys.executable, "-c", child)
    assert time.monotonic() - started < 30


def test_a_failing_command_is_reported_by_its_last_line():
    with pytest.raises(audit.AuditUnavailable, match=r"^no such host$"):
        audit.run(30, sys.executable, "-c", "import sys; sys.exit('Traceback:\\nno such host\\n')")
