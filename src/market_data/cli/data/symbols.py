"""List, show, change and import symbols. The service may run meanwhile."""

import argparse
import csv
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from market_data.api.http.symbol_fields import FLAG, NULLABLE, SYMBOL_FIELDS, read_aliases
from market_data.cli import runner
from market_data.cli.console import counted, output
from market_data.cli.operate.text_tables import plain_table, render
from market_data.database.connection import Connection, connect
from market_data.errors import BadParameters, CommandFailed, Conflict
from market_data.models import PastName, Symbol
from market_data.models_writes import SymbolChangeIn, SymbolIn
from market_data.names import Names
from market_data.queries.names import read_key, read_names
from market_data.queries.symbols import insert_symbol, read_symbol, read_symbols, update_symbol
from market_data.settings import Settings
from market_data.trade_validation import InvalidTrade, shown
from market_data.trade_validation import read_symbol as read_symbol_name

FIELDS: Final = SymbolChangeIn.__struct_fields__
MAX_NAMED_ERRORS = 20
ALIASES_SEPARATOR = "|"

_Action = Callable[[str, argparse.Namespace], Coroutine[Any, Any, int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Symbols and their attributes: type, currency, calendar, tick size, dates, description, aliases."
    actions = parser.add_subparsers(required=True, metavar="ACTION", parser_class=argparse.ArgumentParser)

    def add_action(name: str, action: _Action, summary: str, description: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=summary, description=description)
        added.set_defaults(command=_run, action=action)
        return added

    listing = add_action("list", _list, "list the symbols", "List all symbols in alphabetical order.")
    listing.add_argument("--json", action="store_true", help="print the symbols as a JSON array")

    show = add_action("show", _show, "show a symbol", "Show all attributes of a symbol.")
    show.add_argument("symbol", type=_read_name, metavar="SYMBOL")
    show.add_argument("--json", action="store_true", help="print the symbol as a JSON object")

    text = (
        f"Change attributes of a symbol: {', '.join(FIELDS)}. An empty value removes a tick size, a date, the description "
        f"or the aliases; aliases are separated by {ALIASES_SEPARATOR}."
    )
    change = add_action("set", _set, "change a symbol", text)
    change.add_argument("symbol", type=_read_name, metavar="SYMBOL")
    change.add_argument("values", nargs="+", metavar="FIELD=VALUE", help="such as type=etf, tick_size=0.01 or delisted=")

    text = (
        f"Add and change the symbols of a CSV file with a header: symbol, and any of {', '.join(FIELDS)}. An empty field "
        f"leaves the attribute as it is; aliases are separated by {ALIASES_SEPARATOR}. A wrong line: nothing is stored."
    )
    read = add_action("import", _import, "add and change the symbols of a CSV file", text)
    read.add_argument("file", type=Path, metavar="FILE")


def _read_name(text: str) -> str:
    try:
        return read_symbol_name(text)
    except InvalidTrade as invalid:
        raise argparse.ArgumentTypeError(invalid.detail) from None


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    with runner.migrated_database(settings) as database_url:
        return runner.run_async(
            parsed.action(database_url, parsed), again="`market-data symbols list` shows if the change was made"
        )


async def _list(database_url: str, parsed: argparse.Namespace) -> int:
    async with await connect(database_url, 0) as connection:
        names = Names(await read_names(connection))
        symbols = [replace(each, symbol=names.name_of(each.symbol)) for each in await read_symbols(connection)]
    symbols.sort(key=lambda each: each.symbol)
    if parsed.json:
        output(_to_json(symbols))
        return 0
    if not symbols:
        output("there are no symbols; add some with `market-data symbols import FILE`")
        return 0
    table = plain_table("symbol", "name", "type", "currency", "calendar", "tick size", "listed", "delisted", "state")
    for each in symbols:
        attributes = (_text_of(getattr(each, name)) for name in ("type", "currency", "calendar", "tick_size", "listed"))
        state = ["active" if each.active else "inactive", *(["signed"] if each.signed else [])]
        table.add_row(each.symbol, each.name, *attributes, _text_of(each.delisted), ", ".join(state))
    output(render(table))
    return 0


async def _show(database_url: str, parsed: argparse.Namespace) -> int:
    async with await connect(database_url, 0) as connection:
        names = Names(await read_names(connection))
        key = names.key_of(parsed.symbol)
        found = await read_symbol(connection, key)
    if found is None:
        raise _unknown(parsed.symbol)
    past = [PastName(each.name, each.since, each.until) for each in names.names_of(key)]
    found = replace(found, symbol=names.name_of(key), names=past)
    if parsed.json:
        output(_to_json(found))
        return 0
    for name in (name for name in found.__struct_fields__ if name not in ("names", "renamed_to")):
        output(f"{name}: {_text_of(getattr(found, name))}".rstrip())
    for each in past if len(past) > 1 else ():
        output(f"named {each.name} {_range_of(each)}")
    return 0


async def _set(database_url: str, parsed: argparse.Namespace) -> int:
    values = dict[str, Any]()
    for given in parsed.values:
        name, equals, text = given.partition("=")
        if not equals or name not in FIELDS:
            raise CommandFailed(f"{shown(given)} is not FIELD=VALUE; the fields are {', '.join(FIELDS)}.")
        try:
            values[name] = _read_value(name, text)
        except InvalidTrade as invalid:
            raise CommandFailed(f"{invalid}.") from None
    async with await connect(database_url, 0) as connection:
        try:
            key = await read_key(connection, parsed.symbol)
            changed = await update_symbol(connection, key, SymbolChangeIn(**values))
        except (BadParameters, Conflict) as error:
            raise CommandFailed(f"{error}".rstrip(".") + ".") from None
    if changed is None:
        raise _unknown(parsed.symbol)
    output(f"{parsed.symbol}: " + ", ".join(f"{name}={_text_of(getattr(changed, name))}" for name in values))
    return 0


class _Line(NamedTuple):
    number: int
    symbol: str
    values: Mapping[str, Any]


async def _import(database_url: str, parsed: argparse.Namespace) -> int:
    lines = _read_lines(parsed.file)
    added = 0
    async with await connect(database_url, 0) as connection, connection.transaction():
        for line in lines:
            try:
                added += await _store(connection, line)
            except (BadParameters, Conflict) as error:
                raise CommandFailed(f"{parsed.file}: line {line.number}: {error}".rstrip(".") + ".") from None
    output(f"added {counted(added, 'symbol')}, changed or confirmed {len(lines) - added:,}")
    return 0


async def _store(connection: Connection, line: _Line) -> bool:
    """Change a symbol, or add it and return True."""
    key = await read_key(connection, line.symbol)
    known = await read_symbol(connection, key)
    if known is not None:
        if line.values:
            await update_symbol(connection, key, SymbolChangeIn(**line.values))
        return False
    if "name" not in line.values:
        raise CommandFailed(f"line {line.number}: {line.symbol} is new and needs a name; nothing was stored.")
    values = dict(line.values)
    active = values.pop("active", True)
    await insert_symbol(connection, SymbolIn(symbol=line.symbol, **values))
    if not active:
        await update_symbol(connection, line.symbol, SymbolChangeIn(active=False))
    return True


def _read_lines(file: Path) -> list[_Line]:
    """Return the lines of a CSV file.

    Raises:
        CommandFailed: Some are invalid; the message names each by its number.
    """
    errors: list[str] = []
    lines: list[_Line] = []
    first_lines = dict[str, int]()
    for number, row in _read_rows(file):
        try:
            line = _Line(number, read_symbol_name(row.pop("symbol").strip()), _read_values(row))
            if first := first_lines.get(line.symbol):
                raise InvalidTrade("symbol", f"{line.symbol} is in line {first} too")
        except InvalidTrade as invalid:
            errors.append(f"line {number}: {invalid}")
            continue
        first_lines[line.symbol] = number
        lines.append(line)
    if errors:
        more = [f"and {len(errors) - MAX_NAMED_ERRORS} more lines"] if len(errors) > MAX_NAMED_ERRORS else []
        text = "\n".join(errors[:MAX_NAMED_ERRORS] + more)
        raise CommandFailed(f"{file}: nothing was stored, because {counted(len(errors), 'line')} can't be read:\n{text}")
    return lines


def _read_rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened, strict=True)
            header = [name.strip().lower() for name in next(reader, list[str]())]
            unknown = [name for name in header if name not in ("symbol", *FIELDS)]
            if "symbol" not in header or unknown or len(set(header)) < len(header):
                given = ", ".join(header) or "empty"
                raise CommandFailed(
                    f"{file}: the header must name symbol, and any of {', '.join(FIELDS)}, each once; it is {given}."
                )
            before = reader.line_num
            for row in reader:
                number, before = before + 1, reader.line_num
                if len(row) not in (0, len(header)):
                    raise CommandFailed(f"{file}: line {number} has {len(row)} fields, but the header has {len(header)}.")
                if row:
                    yield number, dict(zip(header, row, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandFailed(f"{file} can't be read: {error}.") from None


def _read_values(row: Mapping[str, str]) -> dict[str, Any]:
    return {name: _read_value(name, text.strip()) for name, text in row.items() if text.strip()}


def _read_value(name: str, text: str) -> Any:
    """Return the value of an attribute. An empty text removes it.

    Raises:
        InvalidTrade: The text is not a value of it.
    """
    if name in NULLABLE and not text:
        return None
    if name == "aliases":
        return read_aliases(text.split(ALIASES_SEPARATOR) if text else [])
    json_type, read = SYMBOL_FIELDS[name]
    if json_type == FLAG and text.lower() not in ("true", "false"):
        raise InvalidTrade(name, f"must be {FLAG}, not {shown(text)}")
    return read(text.lower() if json_type == FLAG else text)


def _text_of(value: object) -> str:
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ALIASES_SEPARATOR.join(map(str, value))  # type: ignore[reportUnknownArgumentType,reportUnknownVariableType]  # texts
    return "" if value is None else str(value)


def _range_of(past: PastName) -> str:
    since = f"since {past.since.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if past.since else "since ever"
    return f"{since}, until {past.until.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if past.until else since


def _to_json(value: Symbol | Sequence[Symbol]) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _unknown(symbol: str) -> CommandFailed:
    return CommandFailed(f"There is no symbol {symbol}; `market-data symbols list` shows all, and POST /symbols adds one.")
