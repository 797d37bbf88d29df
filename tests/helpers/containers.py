"""Dockerfile and compose.yaml, parsed."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import yaml
from helpers.support import PROJECT

PASSWORDS = ("POSTGRES_PASSWORD", "ANALYST_PASSWORD", "GRAFANA_PASSWORD")
"""Variables of compose.yaml without a default."""


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
    """Return the stages of the Dockerfile in order."""
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


def image(name: str = "service") -> Stage:
    (stage,) = [stage for stage in stages() if stage.name == name]
    return stage


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
    """Return the services, with `${NAME:-default}` and `${NAME:?message}` replaced as compose does.

    Passwords that are not in `environment` are `given for NAME`.
    """
    given = {name: f"given for {name}" for name in PASSWORDS} | dict(environment or {})

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [fill(each) for each in value]
        if isinstance(value, str):
            value = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: given.get(match[1]) or match[2], value)
            return re.sub(r"\$\{(\w+):\?[^}]*\}", lambda match: given[match[1]], value)
        return value

    return fill(compose_file())["services"]


def published(environment: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    return {name: service["ports"] for name, service in compose(environment).items() if "ports" in service}
