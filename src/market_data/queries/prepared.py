"""Statements without a cursor, for the reads that clients repeat most. A connection prepares those that it repeats.

For one row of `latest_trades`, still with psycopg's own `wait`: a cursor takes 56 µs of the worker's processor time,
this 31, and asyncpg 19. Together with the statement that sets the `application_name`, 107 and 34: both are sent at once.

The plan of a prepared statement is kept for all parameters. By default, PostgreSQL would plan most of them each time,
because chunks that are excluded only when a statement runs count as read. On a server, in ms, with a kept plan (planned each
time), for five symbols with

| | one year | ten years, 522 chunks of trades |
| --- | --- | --- |
| 60 candles of a minute | 0.5 to 1.0 (1.4) | 1.5 to 1.7 (1.3) |
| 60 candles of an hour | 0.5 to 0.8 (1.9 to 3.0) | 1.9 (3.4) |
| five snapshots | 10 (50) | 26 (91) |
"""

import asyncio
import itertools
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, Literal, LiteralString, TypeAlias, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute, fetch_many, send
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

R = TypeVar("R")

Plans = Literal["auto", "force_generic_plan"]
"""A `plan_cache_mode`: plans that the server chooses, or one for all parameters of a prepared statement."""

SET_NAME_AND_PLANS: LiteralString = """
    SELECT set_config('application_name', %(name)s, false), set_config('plan_cache_mode', %(plans)s, false)
"""
# After `set_config`, the embedded engine would read the settings of the connection again after each statement.
SET_PLANS: Mapping[Plans, LiteralString] = {
    "auto": "SET plan_cache_mode = auto",
    "force_generic_plan": "SET plan_cache_mode = force_generic_plan",
}

Call: TypeAlias = Callable[[], None]
"""Sends a statement with its parameters."""

REPEATED_SECONDS: Final = 5.0
"""Time within which a connection must have run a statement before, so that it is prepared.

Reads of candles are planned again each minute, because the watermarks that TimescaleDB puts into a plan have moved. A plan
for all parameters has all chunks, and takes as long as a few plans for a range.
"""

MAX_PLANNING_RATIO: Final = 5
"""Time of the first run of a prepared statement ÷ that of a run planned for its parameters. Beyond it, the plan is not kept.

Candles of a minute had 1 to 2 with a year of trades, and 8 to 16 with ten years, where a kept plan gained nothing.
"""

MAX_STATEMENTS: Final = 100
"""Statements that a connection keeps prepared; further ones are planned each time.

With a year of trades, the plan of a page of candles takes 0.3 to 0.6 MB of the server's memory, with ten years 1 to 2 MB.
"""

PARAMETER: Final = re.compile(r"%\((\w+)\)s")


class PreparingConnection(AsyncConnection[Any]):
    """A psycopg connection that keeps statements and their plans, and sets the `application_name` along with them."""

    name: str | None = None
    """The `application_name` on the server; None if it is unknown."""

    wanted_name: str | None = None
    """The `application_name` under which the next statement must run; None for any."""

    plans: Plans | None = "auto"
    """The server's `plan_cache_mode`; None if it is unknown."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._names: dict[tuple[str, tuple[int, ...]], bytes] = {}
        """Names of prepared statements by text and types of the parameters."""
        self._statements: set[str] = set()
        """Texts of these statements."""
        self._runs: dict[str, float] = {}
        """Times of the last runs of statements, by the monotonic clock."""
        self._planned_seconds: dict[str, float] = {}
        """Durations of the last runs of statements that were planned for their parameters."""
        self._slow_to_plan: set[str] = set()
        """Statements that are no longer prepared."""
        self._numbers = itertools.count()
        self._transformer = Transformer(self)

    async def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:  # noqa: ASYNC109 - psycopg's
        """Run an operation of psycopg, after the statement that sets up the connection, if it is needed."""
        if self._lacks("auto"):
            await self._repeated(self._set_up)
        return await super().wait(gen, interval, timeout)

    def _lacks(self, plans: Plans) -> bool:
        return plans != self.plans or (self.wanted_name is not None and self.wanted_name != self.name)

    @property
    def may_fetch(self) -> bool:
        """False if statements must take a cursor.

        This is so through PgBouncer, with traces, which instrument cursors, and in a transaction, where a missing statement
        could not be prepared again.
        """
        return (
            self.prepare_threshold is not None
            and self.cursor_factory is AsyncCursor
            and self.pgconn.transaction_status == TransactionStatus.IDLE
        )

    async def fetch(
        self, statement: LiteralString, parameters: Mapping[str, Any], *, prepare: bool
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, as a cursor with `binary=True` does."""
        began = time.monotonic()
        is_new = statement not in self._statements
        prepare = self._ran_lately(statement, began) and prepare
        prepare = prepare and statement not in self._slow_to_plan and (len(self._names) < MAX_STATEMENTS or not is_new)
        result = await self._repeated(lambda: self._execute(statement, parameters, prepare=prepare))
        took = time.monotonic() - began
        if not prepare:
            self._planned_seconds[statement] = took
        elif is_new and took > MAX_PLANNING_RATIO * self._planned_seconds.get(statement, took):
            self._slow_to_plan.add(statement)
        self._transformer.set_pgresult(result)
        rows = self._transformer.load_rows(0, result.ntuples, tuple)
        self._transformer.set_pgresult(None)
        return rows

    def _ran_lately(self, statement: LiteralString, now: float) -> bool:
        last, self._runs[statement] = self._runs.get(statement, -REPEATED_SECONDS), now
        return now - last < REPEATED_SECONDS

    async def _repeated(self, operation: Callable[[], Awaitable[R]]) -> R:
        """Run an operation again if its statement is missing, or if a migration has changed the type of a column.

        Statements are missing after a rollback, because psycopg deallocates all of the connection.
        """
        try:
            return await operation()
        except (psycopg.errors.InvalidSqlStatementName, psycopg.errors.FeatureNotSupported):
            self._names.clear()
            self._statements.clear()
            return await operation()

    async def _set_up(self) -> None:
        wanted, self.name, self.plans = self.wanted_name, None, None
        send_set_up = await self._prepare_set_up("auto")
        send_set_up()
        _result_of(await self._complete(execute(self.pgconn)))
        self.name, self.plans = wanted, "auto"

    async def _execute(self, statement: LiteralString, parameters: Mapping[str, Any], *, prepare: bool) -> PGresult:
        if prepare:
            call, plans = await self._prepare(statement, parameters), "force_generic_plan"
        else:  # the present mode, because a change takes time
            call, plans = self._unprepared(statement, parameters), self.plans or "auto"
        if self._lacks(plans):
            return await self._set_up_and_execute(call, plans)
        call()
        return _result_of(await self._complete(execute(self.pgconn)))

    async def _set_up_and_execute(self, call: Call, plans: Plans) -> PGresult:
        """Set up the connection and execute a statement in one round trip and one transaction."""
        wanted, self.name, self.plans = self.wanted_name, None, None
        send_set_up = await self._prepare_set_up(plans)
        try:
            self.pgconn.enter_pipeline_mode()
            send_set_up()
            call()
            self.pgconn.pipeline_sync()
            set_up, results = await self._complete(_two_results(self.pgconn))
            self.pgconn.exit_pipeline_mode()
        except BaseException:
            self.pgconn.finish()  # the results still to come are unknown
            raise
        _result_of(set_up)
        result = _result_of(results)  # an error rolls the settings back
        self.name, self.plans = wanted, plans
        return result

    async def _prepare_set_up(self, plans: Plans) -> Call:
        if self.wanted_name is None:
            return await self._prepare(SET_PLANS[plans], {})
        return await self._prepare(SET_NAME_AND_PLANS, {"name": self.wanted_name, "plans": plans})

    def _unprepared(self, statement: LiteralString, parameters: Mapping[str, Any]) -> Call:
        """Return the call of a statement with literals: it is planned for them, whatever the `plan_cache_mode`."""
        # In parentheses, because `-1::bigint` is `-(1::bigint)`.
        literals = {
            name: f"({bytes(self._transformer.as_literal(parameters[name])).decode()})" for name in _numbered(statement)[1]
        }
        text = PARAMETER.sub(lambda found: literals[found[1]], statement).encode()
        return partial(self.pgconn.send_query_params, text, None, result_format=Format.BINARY)

    async def _prepare(self, statement: LiteralString, parameters: Mapping[str, Any]) -> Call:
        text, order = _numbered(statement)
        transformer = self._transformer
        values = transformer.dump_sequence([parameters[name] for name in order], [PyFormat.AUTO] * len(order))
        types, formats = transformer.types or (), transformer.formats
        name = self._names.get((statement, types))
        if name is None:
            name = b"market_data_%d" % next(self._numbers)
            self.pgconn.send_prepare(name, text, types)
            _result_of(await self._complete(execute(self.pgconn)))
            self._names[statement, types] = name
            self._statements.add(statement)
        return partial(self.pgconn.send_query_prepared, name, values, formats, Format.BINARY)

    async def _complete(self, gen: PQGen[R]) -> R:
        """Run an operation without the timer that psycopg sets for Ctrl-C. A cancelled one closes the connection."""
        loop, socket = asyncio.get_running_loop(), self.pgconn.socket
        try:
            state = next(gen)
            while True:
                future: asyncio.Future[Ready] = loop.create_future()
                loop.add_reader(socket, _resolve, future, Ready.R)
                if state & Wait.W:
                    loop.add_writer(socket, _resolve, future, Ready.W)
                try:
                    ready = await future
                finally:
                    loop.remove_reader(socket)
                    if state & Wait.W:
                        loop.remove_writer(socket)
                state = gen.send(ready)
        except StopIteration as end:
            return end.value
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


def _resolve(future: "asyncio.Future[Ready]", ready: Ready) -> None:
    if not future.done():
        future.set_result(ready)


def _two_results(pgconn: PGconn) -> PQGen[tuple[list[PGresult], list[PGresult]]]:
    yield from send(pgconn)
    first = yield from fetch_many(pgconn)
    second = yield from fetch_many(pgconn)
    yield from fetch_many(pgconn)  # the end of the pipeline
    return first, second


def _result_of(results: Sequence[PGresult]) -> PGresult:
    """Return the only result, or raise its error."""
    result = results[0]
    if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        raise psycopg.errors.error_from_result(result)
    return result


@lru_cache(1024)
def _numbered(statement: str) -> tuple[bytes, Sequence[str]]:
    """Return a statement with numbered parameters, and the names of the parameters by number."""
    names = list(dict.fromkeys(PARAMETER.findall(statement)))
    return PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", statement).encode(), names


async def fetch(
    connection: AsyncConnection[Any], statement: LiteralString, parameters: Mapping[str, Any], *, prepare: bool = True
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, which is prepared if the connection repeats it.

    It has no `%` except in named parameters. With `prepare=False`, it is planned for these parameters each time.
    """
    if isinstance(connection, PreparingConnection) and connection.may_fetch:
        return await connection.fetch(statement, parameters, prepare=prepare)
    cursor = connection.cursor(binary=True)
    await cursor.execute(statement, parameters, prepare=prepare)
    return await cursor.fetchall()
