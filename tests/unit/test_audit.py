"""What CI makes of the answers of pip-audit and npm audit."""

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
    return audit.judge_python(json.dumps({"dependencies": packages, "fixes": []}))


def test_vulnerable_python_packages_are_named():
    assert python(SKIPPED, SOUND) == ([], "1 of 2 packages looked at")
    assert python(SKIPPED, SOUND, BAD) == (
        ["c 1.0: PYSEC-1, mended in 1.1", "c 1.0: X, mended in no version"],
        "2 of 3 packages looked at",
    )


def test_vulnerable_npm_packages_are_named():
    assert audit.judge_npm(json.dumps({"metadata": METADATA, "vulnerabilities": {}})) == ([], "9 packages looked at")
    found, _ = audit.judge_npm(json.dumps({"metadata": METADATA, "vulnerabilities": {"x": ADVICE}}))
    assert found == ["x <2: high, mended in a newer version"]


@pytest.mark.parametrize(
    ("judge", "answer"),
    [
        ("judge_python", json.dumps({"dependencies": [SKIPPED]})),
        ("judge_python", json.dumps({"dependencies": []})),
        ("judge_python", "Traceback"),
        ("judge_npm", json.dumps({"message": "405 Method Not Allowed", "error": {"summary": ""}})),
        ("judge_npm", json.dumps({"error": {"summary": "no such host"}})),
        ("judge_npm", "[]"),
        ("judge_npm", ""),
    ],
)
def test_no_data_is_not_taken_for_no_vulnerability(judge: str, answer: str):
    with pytest.raises(audit.NotToBeHad, match=r"\w"):
        getattr(audit, judge)(answer)


def test_a_finding_fails_and_missing_data_does_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def nothing() -> Any:
        raise audit.NotToBeHad("no network")

    monkeypatch.setattr(audit, "audit_python", nothing)
    monkeypatch.setattr(audit, "audit_npm", nothing)
    assert audit.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "pip-audit: not done, for its data can't be had: no network",
        "npm audit: not done, for its data can't be had: no network",
    ]
    monkeypatch.setattr(audit, "audit_npm", lambda: (["x <2: high"], "9 packages looked at"))
    assert audit.main() == 1
    assert "vulnerable: x <2: high" in capsys.readouterr().out


def test_what_hangs_is_ended_with_all_that_it_started():
    started = time.monotonic()
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    with pytest.raises(audit.NotToBeHad, match=r"within 1 s"):
        audit.run(1, sys.executable, "-c", child)
    assert time.monotonic() - started < 30


def test_what_fails_is_told_by_its_last_line():
    with pytest.raises(audit.NotToBeHad, match=r"^no such host$"):
        audit.run(30, sys.executable, "-c", "import sys; sys.exit('Traceback:\\nno such host\\n')")
