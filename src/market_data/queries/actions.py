"""Corporate actions of symbols, their changes, and the audit trail, which the rows themselves are."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, LiteralString, NamedTuple

from psycopg.rows import args_row

from market_data.action_validation import ActionTerms, Ratio, check_terms
from market_data.models_actions import ActionChange, ActionType, ActionValues, CorporateAction
from market_data.queries.past import AsOf, parameters_of, version_of
from market_data.queries.row_pages import Connection, exact_number


def ratio_text(ratio: Ratio | None) -> str | None:
    """Return a ratio as clients read it, such as 4:1."""
    return ratio and f"{_plain(ratio.numerator)}:{_plain(ratio.denominator)}"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class StoredAction(NamedTuple):
    """A state of an action that is not ended."""

    id: str
    terms: ActionTerms
    recorded_at: datetime

    def of(self, symbol: str) -> CorporateAction:
        """Return the action as clients read it."""
        values = _values(self.terms)
        return CorporateAction(values.type, values.ex_date, values.ratio, values.amount, symbol, self.id, self.recorded_at)


def _values(terms: ActionTerms) -> ActionValues:
    amount: Any = None if terms.amount is None else exact_number(_plain(terms.amount))
    return ActionValues(terms.type, terms.ex_date, ratio_text(terms.ratio), amount)


def _terms(
    kind: ActionType, ex_date: date, numerator: Decimal | None, denominator: Decimal | None, amount: Decimal | None
) -> ActionTerms:
    ratio = None if numerator is None or denominator is None else Ratio(numerator, denominator)
    return ActionTerms(kind, ex_date, ratio, amount)


def _stored(identifier: str, recorded_at: datetime, *values: Any) -> StoredAction:
    return StoredAction(identifier, _terms(*values), recorded_at)


TERMS: LiteralString = "type, ex_date, numerator, denominator, amount"

PRESENT: LiteralString = "ended_write_id IS NULL"
PAST: LiteralString = """
    EXISTS (
        SELECT FROM writes_as_of(%(as_of)s, 'infinity') AS w
        WHERE is_visible(corporate_actions.write_id, corporate_actions.ended_write_id, w.newest, w.late)
    )
"""


# The version is in each row, so that there is a row without an action if there is none.
def _actions(condition: LiteralString, *, past: bool) -> LiteralString:
    return f"""
        SELECT {version_of(past=past)}, id, recorded_at, {TERMS}
        FROM (SELECT) AS one
        LEFT JOIN (
            SELECT id, recorded_at, {TERMS} FROM corporate_actions WHERE symbol = %(symbol)s AND {condition}
        ) AS found ON true
        ORDER BY ex_date, id
    """


ACTIONS: Mapping[bool, LiteralString] = {False: _actions(PRESENT, past=False), True: _actions(PAST, past=True)}
"""By whether they are those that were known at a version."""


class Actions(NamedTuple):
    """Actions of a symbol, by ex-date."""

    actions: list[StoredAction]
    version: int


async def read_actions(connection: Connection, symbol: str, as_of: AsOf | None = None) -> Actions:
    """Return the actions of a symbol that are known, or that were known at a version."""
    past = parameters_of(as_of)
    cursor = await connection.execute(ACTIONS[bool(past)], {"symbol": symbol, **past})
    rows = await cursor.fetchall()
    return Actions([_stored(*row[1:]) for row in rows if row[1] is not None], rows[0][0])


STATE: LiteralString = f"""
    SELECT id, recorded_at, {TERMS}
    FROM corporate_actions
    WHERE symbol = %s AND id = %s AND ended_write_id IS NULL
    FOR UPDATE
"""


async def _read_state(connection: Connection, symbol: str, identifier: str) -> StoredAction | None:
    cursor = connection.cursor(row_factory=args_row(_stored))
    await cursor.execute(STATE, (symbol, identifier))
    return await cursor.fetchone()


INSERT: LiteralString = f"""
    INSERT INTO corporate_actions (symbol, id, {TERMS}, actor, reason)
    VALUES (
        %(symbol)s, %(id)s, %(type)s, %(ex_date)s, %(numerator)s, %(denominator)s, %(amount)s, %(actor)s, %(reason)s
    )
    ON CONFLICT (symbol, id) WHERE ended_write_id IS NULL DO NOTHING
    RETURNING id, recorded_at, {TERMS}
"""


async def _insert(
    connection: Connection, symbol: str, identifier: str, terms: ActionTerms, actor: str, reason: str | None = None
) -> StoredAction | None:
    numerator, denominator = terms.ratio or (None, None)
    cursor = connection.cursor(row_factory=args_row(_stored))
    values = {"type": terms.type, "ex_date": terms.ex_date, "amount": terms.amount, "actor": actor, "reason": reason}
    key = {"symbol": symbol, "id": identifier, "numerator": numerator, "denominator": denominator}
    await cursor.execute(INSERT, {**key, **values})
    return await cursor.fetchone()


class RecordedAction(NamedTuple):
    """An action, and True if this call recorded it."""

    action: StoredAction
    is_new: bool


async def insert_action(
    connection: Connection, symbol: str, identifier: str, terms: ActionTerms, actor: str
) -> RecordedAction | ActionChange:
    """Record an action of a known symbol. A known one is returned as it is; of a cancelled one, its last change."""
    async with connection.transaction():
        if state := await _read_state(connection, symbol, identifier):
            return RecordedAction(state, is_new=False)
        if (last := await read_last_change(connection, symbol, identifier)) and last.change == "cancel":
            return last
        if added := await _insert(connection, symbol, identifier, terms, actor):
            return RecordedAction(added, is_new=True)
        state = await _read_state(connection, symbol, identifier)
        if state is None:
            raise RuntimeError(f"the action {identifier} was recorded and cancelled meanwhile")
        return RecordedAction(state, is_new=False)


END = """
    UPDATE corporate_actions
    SET ended_write_id = reference_write(), ended_by = %s, ended_reason = %s, ended_at = clock_timestamp()
    WHERE symbol = %s AND id = %s AND ended_write_id IS NULL
"""


class ActionResult(NamedTuple):
    """The last change of an action, None if there is none."""

    change: ActionChange | None
    by_this: bool
    """True if this call made the change."""


async def cancel_action(connection: Connection, symbol: str, identifier: str, actor: str, reason: str) -> ActionResult:
    """End an action, with actor and reason."""
    async with connection.transaction():
        ended = (await connection.execute(END, (actor, reason, symbol, identifier))).rowcount
        return ActionResult(await read_last_change(connection, symbol, identifier), ended > 0)


class NewTerms(NamedTuple):
    """Values that a correction gives; None keeps a value. A ratio replaces an amount, and the reverse."""

    type: ActionType | None
    ex_date: date | None
    ratio: Ratio | None
    amount: Decimal | None

    def applied_to(self, terms: ActionTerms) -> ActionTerms:
        """Return the values after the correction.

        Raises:
            InvalidTrade: They are not valid together.
        """
        ratio, amount = terms.ratio, terms.amount
        if self.ratio is not None or self.amount is not None:
            ratio, amount = self.ratio, self.amount
        return check_terms(self.type or terms.type, self.ex_date or terms.ex_date, ratio, amount)


async def correct_action(
    connection: Connection, symbol: str, identifier: str, given: NewTerms, actor: str, reason: str
) -> ActionResult:
    """Replace values of an action, with actor and reason.

    Raises:
        InvalidTrade: The values are not valid together.
    """
    async with connection.transaction():
        state = await _read_state(connection, symbol, identifier)
        if state is None:
            return ActionResult(await read_last_change(connection, symbol, identifier), by_this=False)
        terms = given.applied_to(state.terms)
        differs = terms.difference(state.terms) is not None
        if differs:
            await connection.execute(END, (actor, reason, symbol, identifier))
            await _insert(connection, symbol, identifier, terms, actor, reason)
        return ActionResult(await read_last_change(connection, symbol, identifier), differs)


# A correction ends a row and adds the next one; a row that ends without a next one was cancelled.
CHANGES: LiteralString = f"""
    WITH states AS (
        SELECT
            change_id, id, {TERMS}, actor, reason, recorded_at, ended_by, ended_reason, ended_at, ended_write_id,
            lag(change_id) OVER known AS previous, lead(change_id) OVER known AS next,
            lag(ended_write_id) OVER known = write_id AS is_correction,
            lead(write_id) OVER known = ended_write_id AS is_corrected
        FROM corporate_actions
        WHERE symbol = %(symbol)s AND (%(id)s::text IS NULL OR id = %(id)s)
        WINDOW known AS (PARTITION BY id ORDER BY change_id)
    )
    SELECT
        state.recorded_at AS changed_at, CASE WHEN coalesce(is_correction, false) THEN 'correct' ELSE 'record' END, id,
        CASE WHEN is_correction THEN previous END AS before_id, change_id AS after_id, actor, reason, change_id AS number
    FROM states AS state
    UNION ALL
    SELECT ended_at, 'cancel', id, change_id, NULL, ended_by, ended_reason, change_id
    FROM states
    WHERE ended_write_id IS NOT NULL AND is_corrected IS NOT TRUE
"""
NAMED_CHANGES: LiteralString = f"""
    SELECT
        change.changed_at, change.kind, change.id, change.actor, change.reason,
        before.change_id IS NOT NULL, before.type, before.ex_date, before.numerator, before.denominator, before.amount,
        after.change_id IS NOT NULL, after.type, after.ex_date, after.numerator, after.denominator, after.amount
    FROM ({CHANGES}) AS change (changed_at, kind, id, before_id, after_id, actor, reason, number)
    LEFT JOIN corporate_actions AS before ON before.change_id = change.before_id
    LEFT JOIN corporate_actions AS after ON after.change_id = change.after_id
    ORDER BY change.changed_at DESC, change.number DESC, change.kind
    LIMIT %(limit)s
"""


async def _read_changes(
    connection: Connection, symbol: str, identifier: str | None, limit: int | None
) -> list[ActionChange]:
    cursor = await connection.execute(NAMED_CHANGES, {"symbol": symbol, "id": identifier, "limit": limit})

    def change(row: tuple[Any, ...]) -> ActionChange:
        changed_at, kind, name, actor, reason, *states = row
        before, after = (_values(_terms(*each[1:])) if each[0] else None for each in (states[:6], states[6:]))
        return ActionChange(changed_at, kind, symbol, name, before, after, actor, reason)

    return [change(row) for row in await cursor.fetchall()]


async def read_last_change(connection: Connection, symbol: str, identifier: str) -> ActionChange | None:
    """Return the last change of an action; None if it was never recorded."""
    changes = await _read_changes(connection, symbol, identifier, 1)
    return changes[0] if changes else None


async def read_action_changes(connection: Connection, symbol: str) -> list[ActionChange]:
    """Return all changes of the actions of a symbol, newest first."""
    return await _read_changes(connection, symbol, None, None)
