"""Answers of tools: a table, or one JSON object, that fits the context of a language model, and the same as structured data.

The table is CSV, the form with the fewest tokens, and keeps every digit.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec

from market_data.api.mcp.calls import Answer
from market_data.api.mcp.tools import MAX_ROWS, Tool

Row = Mapping[str, Any]

_exact: Final = msgspec.json.Decoder(float_hook=str)
"""Leaves numbers with a decimal point as they are written."""

MAX_OBJECT_CHARACTERS = 20_000


class Shown(NamedTuple):
    """An answer as the client gets it."""

    text: str
    structured: dict[str, Any]


def show(tool: Tool, answer: Answer, contains: str) -> Shown:
    """Return an answer with at most `MAX_ROWS` rows, only those in which a text occurs."""
    body: dict[str, Any] = msgspec.json.decode(answer.body)
    source = {"url": answer.url} if answer.version is None else {"data_version": answer.version, "url": answer.url}
    if tool.rows is None:
        text = answer.body.decode()
        return Shown(_joined(text[:MAX_OBJECT_CHARACTERS], _source_lines(text, source)), {**body, **source})
    rows, exact = ([*_matching(tool, each[tool.rows], contains)] for each in (body, _exact.decode(answer.body)))
    omitted = len(rows) - MAX_ROWS
    body |= {tool.rows: rows[:MAX_ROWS], "count": min(len(rows), MAX_ROWS), **source}
    if omitted > 0:
        body["omitted"] = omitted
    facts = {name: value for name, value in body.items() if name not in (tool.rows, "url") and value is not None}
    lines = [f"{name}: {_cell(value)}" for name, value in facts.items()]
    if "next_page_token" in facts:
        lines.append("More rows: call again with the same arguments and page_token.")
    if omitted > 0:
        lines.append(f"{omitted} further rows are left out; narrow the arguments.")
    lines.append(f"The whole answer for programs, with the same key: {answer.url}")
    return Shown(_joined(_table(exact[:MAX_ROWS]), lines), body)


def _matching(tool: Tool, rows: Sequence[Row], contains: str) -> Sequence[Row]:
    wanted = contains.casefold()
    return [row for row in rows if any(wanted in row[name].casefold() for name in tool.searched)] if wanted else rows


def _table(rows: Sequence[Row]) -> str:
    flat = [_flat(row) for row in rows]
    names = dict.fromkeys(name for row in flat for name in row)
    if not names:
        return "There are no rows."
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in flat)
    return text.getvalue().rstrip("\n")


def _flat(row: Row, prefix: str = "") -> dict[str, Any]:
    """Return the fields of a row, those of an object in it as `object.field`."""
    fields: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            fields |= _flat(cast("Row", value), f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields


def _cell(value: object) -> object:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return " ".join(str(each) for each in cast("list[object]", value))
        case _:
            return "" if value is None else value


def _source_lines(text: str, source: Mapping[str, Any]) -> list[str]:
    lines = [f"{name}: {value}" for name, value in source.items()]
    if len(text) > MAX_OBJECT_CHARACTERS:
        lines.insert(0, f"The text ends after {MAX_OBJECT_CHARACTERS:,} characters; the url has all of it.")
    return lines


def _joined(text: str, lines: Sequence[str]) -> str:
    return "\n".join([text, "", *lines])
