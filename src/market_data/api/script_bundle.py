"""Join the ES modules of a page into one script.

Over HTTP/1.1 a browser requests six files at a time, and each six cost a round trip.
Each module becomes a function that is called once and returns its exports, in the order in which a browser would run them.
The few forms of `import` and `export` that the modules may use are below; any other one is an error when the service starts.
"""

import re
from collections.abc import Mapping
from typing import Final

MODULE_IMPORT: Final = re.compile(r'^import (\{[^}]*\}) from "\./([\w.-]+)";$', re.MULTILINE)
EXPORT: Final = re.compile(r"^export (?=(?:async )?(?:function|class|const)\b)", re.MULTILINE)
EXPORTED_NAME: Final = re.compile(r"^export (?:async )?(?:function\*?|class|const) (\w+)", re.MULTILINE)
OTHER_FORM: Final = re.compile(r"^(?:import|export)\b.*|^await\b.*|(?<![.\w])import\(.*", re.MULTILINE)
RENAMED: Final = re.compile(r"\bas\b")
DOCUMENTATION: Final = re.compile(r"^ */\*\*(?:(?!\*/).)*\*/\n|/\*\*.*?\*/ ?", re.MULTILINE | re.DOTALL)
"""Types and descriptions in JSDoc, a third of the bytes."""


def bundle(entry: str, sources: Mapping[str, str]) -> str:
    """Return a module that does the same as `entry`; `sources` are the modules by file name.

    Modules that are not among the sources are imported from the folder of the script.

    Raises:
        ValueError: A cycle of imports, or a form of `import` or `export` that is not supported.
    """
    imports: dict[str, str] = {}
    modules: dict[str, str] = {}
    _add(entry, sources, (), imports, modules)
    return "\n".join([*imports.values(), *modules.values()])


def _add(
    name: str, sources: Mapping[str, str], importers: tuple[str, ...], imports: dict[str, str], modules: dict[str, str]
) -> None:
    """Add a module after those that it imports."""
    if name in importers:
        raise ValueError(f"Modules import each other: {' → '.join((*importers, name))}.")
    if name in imports or name in modules:
        return
    if name not in sources:
        imports[name] = f'import * as {_variable(name)} from "./{name}";'
        return
    source = DOCUMENTATION.sub("", sources[name])
    for match in MODULE_IMPORT.finditer(source):
        _add(match[2], sources, (*importers, name), imports, modules)
    exported = ", ".join(EXPORTED_NAME.findall(source))
    body = EXPORT.sub("", MODULE_IMPORT.sub(_as_constant, source))
    if other := OTHER_FORM.search(body):
        raise ValueError(f"{name} has a form of import or export that can't be joined: {other[0]}")
    modules[name] = f"const {_variable(name)} = (() => {{\n{body.strip()}\nreturn {{ {exported} }};\n}})();"


def _as_constant(match: re.Match[str]) -> str:
    return f"const {RENAMED.sub(':', match[1])} = {_variable(match[2])};"


def _variable(name: str) -> str:
    return "$" + re.sub(r"\W", "_", name.rpartition(".")[0])
