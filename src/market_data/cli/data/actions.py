"""Import and list corporate actions. The service may run meanwhile."""

import argparse
import csv
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from market_data.action_validation import (
    ActionTerms,
    check_terms,
    read_action_id,
    read_action_type,
    read_amount,
    read_ex_date,
    read_ratio,
)
from market_data.cli import runner
from market_data.cli.console import output, progress
from market_data.cli.operate.text_tables import format_time, plain_table, render
from market_data.database.connection import Connection, connect
from market_data.errors import CommandFailed
from market_data.queries.actions import RecordedAction, insert_action, ratio_text, read_actions
from market_data.queries.symbols import symbol_exists, unknown_symbols
from market_data.settings import Settings
from market_data.trade_validation import InvalidTrade, read_symbol

COLUMNS = ("symbol", "id", "type", "ex_date", "ratio", "amount")
REQUIRED = ("symbol", "type", "ex_date")
ACTOR = "market-data actions"
MAX_NAMED_ERRORS = 20

_Action = Callable[[str, argparse.Namespace], Coroutine[Any, Any, int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Corporate actions: splits, dividends and spin-offs, to which adjustment= adjusts prices."
    actions = parser.add_subparsers(required=True, metavar="ACTION", parser_class=argparse.ArgumentParser)

    def add_action(name: str, action: _Action, summary: str, description: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=summary, description=description)
        added.set_defaults(command=_run, action=action)
        return added

    text = (
        f"Record the actions of a CSV file with the columns {', '.join(COLUMNS)}; without an id, type and ex-date identify "
        "an action. All are recorded, or none if one is invalid. A file may be imported again: known actions stay as they "
        "are."
    )
    importing = add_action("import", _import, "record the actions of a CSV file", text)
    importing.add_argument("file", type=Path, metavar="FILE", help="CSV file with a header line")
    importing.add_argument("--dry-run", action="store_true", help="validate the file, and record nothing")

    listing = add_action("list", _list, "list the actions of a symbol", "List the actions of a symbol, by ex-date.")
    listing.add_argument("symbol", metavar="SYMBOL", help="the symbol, in upper or lower case")


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    with runner.migrated_database(settings) as database_url:
        return runner.run_async(parsed.action(database_url, parsed), again="the same command records what is missing")


class FileAction(NamedTuple):
    """An action of a file."""

    line: int
    symbol: str
    id: str
    terms: ActionTerms


def read_file(file: Path) -> list[FileAction]:
    """Return the actions of a CSV file.

    Raises:
        CommandFailed: The file can't be read, or rows are invalid; the message names their lines.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines, strict=True)
            names = tuple(name.strip().lower() for name in rows.fieldnames or ())
            rows.fieldnames = names
            _check_columns(file, names)
            errors = list[str]()
            return list(_valid_rows(file, rows, errors))
    except OSError as error:
        raise CommandFailed(f"{file} can't be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CommandFailed(f"{file} is not a CSV file in UTF-8: {error}.") from None


def _check_columns(file: Path, names: tuple[str, ...]) -> None:
    if missing := [name for name in REQUIRED if name not in names]:
        raise CommandFailed(f"{file} has no column {', '.join(missing)}; its columns are {', '.join(names) or 'none'}.")
    if unknown := [name for name in names if name not in COLUMNS]:
        raise CommandFailed(f"{file} has the unknown column {', '.join(unknown)}; the columns are {', '.join(COLUMNS)}.")


def _valid_rows(file: Path, rows: "csv.DictReader[str]", errors: list[str]) -> Iterator[FileAction]:
    for row in rows:
        try:
            yield _read_row(rows.line_num, row)
        except InvalidTrade as invalid:
            errors.append(f"line {rows.line_num}: {invalid.part}: {invalid.detail}")
    if errors:
        raise CommandFailed(_listed(file, errors))


def _listed(file: Path, errors: list[str]) -> str:
    more = len(errors) - MAX_NAMED_ERRORS
    named = "\n".join(f"  {error}" for error in errors[:MAX_NAMED_ERRORS]) + (f"\n  and {more:,} more" if more > 0 else "")
    return f"Nothing of {file} was recorded, because of\n{named}"


def _read_row(line: int, row: dict[Any, Any]) -> FileAction:
    if None in row or None in row.values():
        raise InvalidTrade("row", f"must have {len([name for name in row if name])} fields, as the header has")
    text = {name: value.strip() for name, value in row.items()}
    kind, ex_date = read_action_type(text["type"]), read_ex_date(text["ex_date"])
    ratio = read_ratio(text["ratio"]) if text.get("ratio") else None
    amount = read_amount(text["amount"]) if text.get("amount") else None
    identifier = read_action_id(text.get("id") or f"{kind}-{ex_date}")
    return FileAction(line, read_symbol(text["symbol"]), identifier, check_terms(kind, ex_date, ratio, amount))


async def _import(database_url: str, parsed: argparse.Namespace) -> int:
    actions = read_file(parsed.file)
    async with await connect(database_url, 0) as connection:
        unknown = set(await unknown_symbols(connection, sorted({action.symbol for action in actions})))
        errors = [
            f"line {each.line}: symbol: there is no symbol {each.symbol}" for each in actions if each.symbol in unknown
        ]
        if errors:
            raise CommandFailed(_listed(parsed.file, errors))
        if parsed.dry_run:
            output(f"{len(actions):,} actions are valid")
            return 0
        new = await _record(connection, parsed.file, actions)
    output(f"recorded {new:,} actions; {len(actions) - new:,} were known already")
    return 0


async def _record(connection: Connection, file: Path, actions: list[FileAction]) -> int:
    """Record all actions in one transaction, and return the number of new ones."""
    errors, new = list[str](), 0
    async with connection.transaction():
        for each in actions:
            found = await insert_action(connection, each.symbol, each.id, each.terms, ACTOR)
            if not isinstance(found, RecordedAction):
                errors.append(f"line {each.line}: id: {each.id} of {each.symbol} was cancelled; give it another id")
            elif name := each.terms.difference(found.action.terms):
                errors.append(f"line {each.line}: {name}: {each.id} of {each.symbol} is known with another {name}")
            else:
                new += found.is_new
        if errors:
            raise CommandFailed(_listed(file, errors))
    return new


async def _list(database_url: str, parsed: argparse.Namespace) -> int:
    try:
        symbol = read_symbol(parsed.symbol)
    except InvalidTrade as invalid:
        raise CommandFailed(f"SYMBOL {invalid.detail}.") from None
    async with await connect(database_url, 0) as connection:
        actions = (await read_actions(connection, symbol)).actions
        if not actions and not await symbol_exists(connection, symbol):
            raise CommandFailed(f"There is no symbol {symbol}.")
    if not actions:
        progress(f"{symbol} has no corporate actions")
        return 0
    table = plain_table("ex-date", "type", "ratio", "amount", "id", "recorded")
    for each in actions:
        terms = each.terms
        shown = "" if terms.amount is None else f"{terms.amount:f}"
        table.add_row(
            str(terms.ex_date), terms.type, ratio_text(terms.ratio) or "", shown, each.id, format_time(each.recorded_at)
        )
    output(render(table))
    return 0
