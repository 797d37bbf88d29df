"""Known vulnerabilities of the dependencies: pip-audit for the installed packages, npm audit for the lock file.

Fails if there are any. If the vulnerability data is unavailable, prints a line and succeeds: a missing network is no fault
of the project.
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
"""Time-outs. pip-audit has to be installed first, and queries one package after the other."""


class AuditUnavailable(Exception):
    """The vulnerability data or the audit program is unavailable; the message says why."""


def main() -> int:
    """Run both audits. Returns the exit status: 1 if a package is vulnerable."""
    vulnerabilities: list[str] = []
    for name, audit in (("pip-audit", audit_python), ("npm audit", audit_npm)):
        try:
            vulnerable, summary = audit()
        except AuditUnavailable as reason:
            print_line(f"{name}: skipped, its data is unavailable: {reason}")
            continue
        print_line(f"{name}: {summary}, {len(vulnerable) or 'none'} vulnerable")
        vulnerabilities += vulnerable
    for line in vulnerabilities:
        print_line(f"vulnerable: {line}")
    return 1 if vulnerabilities else 0


def print_line(line: str) -> None:
    """Write a line to the CI log."""
    sys.stdout.write(f"{line}\n")


def audit_python() -> tuple[list[str], str]:
    """Audit the installed packages except this project. Returns the vulnerabilities and a summary."""
    installed = run(5, "uv", "pip", "freeze", "--exclude-editable", "--python", sys.executable)  # needs no network
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(installed)
        # Query these exact versions only: nothing is resolved or installed.
        options = ("--no-deps", "--disable-pip", "--progress-spinner=off", "--timeout=5", "--format=json")
        command = ("uv", "run", "--no-project", "--with", "pip-audit", "pip-audit", *options)
        return parse_pip_audit(run(PYTHON_SECONDS, *command, "-r", str(requirements), cwd=folder))


def parse_pip_audit(report: str) -> tuple[list[str], str]:
    """Parse pip-audit's report."""
    packages = decode(report).get("dependencies", [])
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        raise AuditUnavailable(packages[0]["skip_reason"] if packages else "it audited no package")
    vulnerable = [
        f"{package['name']} {package['version']}: {each['id']}, fixed in {', '.join(each['fix_versions']) or 'no version'}"
        for package in audited
        for each in package["vulns"]
    ]
    return vulnerable, f"{len(audited)} of {len(packages)} packages audited"


def audit_npm() -> tuple[list[str], str]:
    """Audit the packages of the embedded engine and the pages. Returns the vulnerabilities and a summary."""
    npm = (str(node_wheel() / "bin" / "node"), str(node_wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))
    options = ("--json", "--package-lock-only", "--omit=dev", "--fetch-retries=0", "--fetch-timeout=10000")
    return parse_npm_audit(run(NPM_SECONDS, *npm, "audit", *options, cwd=NODE))


def parse_npm_audit(text: str) -> tuple[list[str], str]:
    """Parse npm's report."""
    report = decode(text)
    if "metadata" not in report:
        reason = report.get("error", {}).get("summary") or report.get("message") or "npm gave no reason"
        raise AuditUnavailable(str(reason).partition("\n")[0])
    vulnerable = [
        f"{name} {package['range']}: {package['severity']}, "
        f"{'fixed in a newer version' if package['fixAvailable'] else 'not fixed in any version'}"
        for name, package in report["vulnerabilities"].items()
    ]
    return vulnerable, f"{report['metadata']['dependencies']['total']} packages audited"


def decode(text: str) -> dict[str, Any]:
    """Decode a JSON report.

    Raises:
        AuditUnavailable: The text is not JSON.
    """
    try:
        report = json.loads(text)
    except ValueError:
        raise AuditUnavailable("the report is not JSON") from None
    return report if isinstance(report, dict) else {}


def run(seconds: float, *command: str, cwd: Path | str | None = None) -> str:
    """Return the standard output of a command, whatever its exit status.

    Raises:
        AuditUnavailable: No output, or none within the time-out; then the command and its children are killed.
    """
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
        raise AuditUnavailable(f"no output within {seconds:g} s") from None
    if not output:
        raise AuditUnavailable(last_line(errors))
    return output


def last_line(text: str) -> str:
    """Last line that is not empty: the error itself in tracebacks and npm's logs."""
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no error message"


if __name__ == "__main__":
    sys.exit(main())
