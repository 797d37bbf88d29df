"""Known vulnerabilities of what this project is built on: pip-audit over what is installed, npm audit over the lock file.

Fails where there are some. Where the data about them can't be had, it says so in a line, and succeeds: that there is no
network is no fault of the project.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from market_data.embedded.packages import NODE, node_wheel

PYTHON_SECONDS, NPM_SECONDS = 40, 15
"""How long each may take. The first asks for one package after the other, and has to be installed."""


class NotToBeHad(Exception):
    """The data, or what reads it, can't be had; the message says why."""


def main() -> int:
    """The exit status: 1 where something is vulnerable."""
    found: list[str] = []
    for name, audit in (("pip-audit", audit_python), ("npm audit", audit_npm)):
        try:
            vulnerable, audited = audit()
        except NotToBeHad as reason:
            say(f"{name}: not done, for its data can't be had: {reason}")
            continue
        say(f"{name}: {audited}, {len(vulnerable) or 'none'} vulnerable")
        found += vulnerable
    for line in found:
        say(f"vulnerable: {line}")
    return 1 if found else 0


def say(line: str) -> None:
    """Tell whoever reads the log."""
    sys.stdout.write(f"{line}\n")


def audit_python() -> tuple[list[str], str]:
    """What is vulnerable of the packages that are installed beside this project, and how many were looked at."""
    installed = run(5, "uv", "pip", "freeze", "--exclude-editable", "--python", sys.executable)  # asks nobody
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(installed)
        # Only what is known of these very versions is asked for: nothing is resolved or installed.
        only = ("--no-deps", "--disable-pip", "--progress-spinner=off", "--timeout=5", "--format=json")
        command = ("uv", "run", "--no-project", "--with", "pip-audit", "pip-audit", *only)
        return judge_python(run(PYTHON_SECONDS, *command, "-r", str(requirements), cwd=folder))


def judge_python(answer: str) -> tuple[list[str], str]:
    """What pip-audit's answer says."""
    packages = read(answer).get("dependencies", [])
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        raise NotToBeHad(packages[0]["skip_reason"] if packages else "it looked at nothing")
    vulnerable = [
        f"{package['name']} {package['version']}: {each['id']}, mended in {', '.join(each['fix_versions']) or 'no version'}"
        for package in audited
        for each in package["vulns"]
    ]
    return vulnerable, f"{len(audited)} of {len(packages)} packages looked at"


def audit_npm() -> tuple[list[str], str]:
    """What is vulnerable of the packages of the embedded engine and the pages."""
    npm = (str(node_wheel() / "bin" / "node"), str(node_wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))
    options = ("--json", "--package-lock-only", "--omit=dev", "--fetch-retries=0", "--fetch-timeout=10000")
    return judge_npm(run(NPM_SECONDS, *npm, "audit", *options, cwd=NODE))


def judge_npm(answer: str) -> tuple[list[str], str]:
    """What npm's answer says."""
    report = read(answer)
    if "metadata" not in report:
        reason = report.get("error", {}).get("summary") or report.get("message") or "npm does not say why"
        raise NotToBeHad(str(reason).partition("\n")[0])
    vulnerable = [
        f"{name} {package['range']}: {package['severity']}, "
        f"{'mended in a newer version' if package['fixAvailable'] else 'not mended in any version'}"
        for name, package in report["vulnerabilities"].items()
    ]
    return vulnerable, f"{report['metadata']['dependencies']['total']} packages looked at"


def read(answer: str) -> dict[str, Any]:
    """A report in JSON."""
    try:
        report = json.loads(answer)
    except ValueError:
        raise NotToBeHad("there is no report") from None
    return report if isinstance(report, dict) else {}


def run(seconds: float, *command: str, cwd: Path | str | None = None) -> str:
    """What a command prints, whatever its exit status. It and all that it has started end with its time."""
    process = subprocess.Popen(  # noqa: S603 - our own command line
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise NotToBeHad(f"no answer within {seconds:g} s") from None
    if not output:
        raise NotToBeHad(last_line(errors))
    return output


def last_line(text: str) -> str:
    """The line of an error that says most."""
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it says nothing"


if __name__ == "__main__":
    sys.exit(main())
