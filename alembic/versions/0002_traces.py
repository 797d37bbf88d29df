"""What each trade leaves behind: the newest trade of its symbol, stale candles where it came late, a refusal where too late.

Triggers keep it, in the transaction of the trade itself, whoever writes: the service, an import, psql.

Revision: 0002
Follows: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_newest_trades()
    _create_stale_ranges()
    _create_retention()
    # Every stored trade has its symbol in newest_trades, whose foreign key stands for this one: checked once a
    # statement, not once a row, which halves what a COPY takes (84,000 against 165,000 trades a second).
    op.execute("ALTER TABLE trades DROP CONSTRAINT trades_symbol_fkey")
    _watch_inserts()
    _watch_other_changes()


def downgrade() -> None:
    for trigger in ("trades_stored", "trades_changed", "trades_truncated"):
        op.execute(f"DROP TRIGGER {trigger} ON trades")
        op.execute(f"DROP FUNCTION {trigger}()")
    op.execute("""
        ALTER TABLE trades ADD CONSTRAINT trades_symbol_fkey FOREIGN KEY (symbol) REFERENCES symbols (symbol)
    """)
    op.execute("DROP FUNCTION retention_horizon()")
    op.execute("DROP TABLE retention")
    op.execute("DROP TABLE stale_ranges")
    op.execute("DROP VIEW latest_prices")
    op.execute("DROP TABLE newest_trades")


def _create_newest_trades() -> None:
    op.execute("""
        CREATE TABLE newest_trades (
            symbol text NOT NULL,
            time timestamptz NOT NULL,
            trade_id bigint NOT NULL,
            price numeric NOT NULL,
            volume numeric NOT NULL,
            CONSTRAINT newest_trades_pkey PRIMARY KEY (symbol),
            CONSTRAINT newest_trades_symbol_fkey FOREIGN KEY (symbol) REFERENCES symbols (symbol)
        )
        WITH (fillfactor = 50)
    """)
    op.execute("""
        INSERT INTO newest_trades (symbol, time, trade_id, price, volume)
        SELECT newest.symbol, newest.time, newest.trade_id, newest.price, newest.volume
        FROM symbols
        CROSS JOIN LATERAL (
            SELECT trades.symbol, trades.time, trades.trade_id, trades.price, trades.volume
            FROM trades
            WHERE trades.symbol = symbols.symbol
            ORDER BY trades.time DESC, trades.trade_id DESC
            LIMIT 1
        ) AS newest
    """)
    op.execute("""
        CREATE VIEW latest_prices AS
        SELECT symbol, name, price, volume, time
        FROM newest_trades
        JOIN symbols USING (symbol)
    """)
    _comment(
        "TABLE newest_trades",
        "The newest trade of each symbol (by time, then trade_id), kept by the triggers of trades. It stays where "
        "retention has dropped the trade itself.",
    )
    _comment("COLUMN newest_trades.symbol", "What was traded.")
    _comment("COLUMN newest_trades.time", "When the trade happened.")
    _comment("COLUMN newest_trades.trade_id", "Its number within symbol and instant.")
    _comment("COLUMN newest_trades.price", "Price of one unit, exact.")
    _comment("COLUMN newest_trades.volume", "Units traded, exact.")
    _comment("VIEW latest_prices", "The latest price of every symbol that has ever been traded.")
    _comment("COLUMN latest_prices.symbol", "The symbol.")
    _comment("COLUMN latest_prices.name", "What the symbol stands for.")
    _comment("COLUMN latest_prices.price", "Price of its newest trade.")
    _comment("COLUMN latest_prices.volume", "Units of that trade.")
    _comment("COLUMN latest_prices.time", "When that trade happened.")


def _create_stale_ranges() -> None:
    op.execute("""
        CREATE TABLE stale_ranges (
            id bigint GENERATED ALWAYS AS IDENTITY,
            level smallint NOT NULL DEFAULT 1,
            since timestamptz NOT NULL,
            until timestamptz NOT NULL,
            CONSTRAINT stale_ranges_pkey PRIMARY KEY (id)
        )
    """)
    # What is there already has no candles but those of one minute.
    op.execute("""
        INSERT INTO stale_ranges (since, until)
        SELECT range_start, range_end - INTERVAL '1 microsecond'
        FROM timescaledb_information.chunks
        WHERE hypertable_schema = 'public' AND hypertable_name = 'trades'
    """)
    _comment(
        "TABLE stale_ranges",
        "Ranges of time in which trades were stored, changed or deleted, and whose candles the job refresh_candles has yet "
        "to look after; kept by the triggers of trades.",
    )
    _comment("COLUMN stale_ranges.id", "In the order of arrival.")
    _comment("SEQUENCE stale_ranges_id_seq", "Numbers of stale_ranges.")
    _comment(
        "COLUMN stale_ranges.level",
        "The finest interval whose candles are still stale, 1 for 1m, 2 for 5m and so on: refreshed from there upwards.",
    )
    _comment("COLUMN stale_ranges.since", "Time of the first trade, or start of its bucket.")
    _comment("COLUMN stale_ranges.until", "Time of the last trade.")


def _create_retention() -> None:
    op.execute("""
        CREATE TABLE retention (
            drop_after interval,
            dropped_before timestamptz NOT NULL DEFAULT '-infinity',
            oldest_chunk timestamptz,
            -- Longer than what refresh_candles may look back at, 3 hours, a bucket and a chunk of trades together.
            CONSTRAINT retention_drop_after_long_enough CHECK (drop_after >= INTERVAL '8 days')
        )
    """)
    op.execute("CREATE UNIQUE INDEX retention_one_row ON retention ((true))")
    op.execute("INSERT INTO retention DEFAULT VALUES")
    op.execute("""
        CREATE FUNCTION retention_horizon() RETURNS timestamptz
        LANGUAGE sql STABLE
        AS $$
            SELECT greatest(dropped_before, now() - drop_after) FROM public.retention
        $$
    """)
    _comment(
        "TABLE retention", "How long trades are kept, in one row; set it with set_retention(). Candles are kept for ever."
    )
    _comment("COLUMN retention.drop_after", "Age beyond which trades are dropped; null where they are kept for ever.")
    _comment("COLUMN retention.dropped_before", "Trades older than this have been dropped, and are not taken any more.")
    _comment(
        "COLUMN retention.oldest_chunk",
        "Start of the oldest chunk of trades when refresh_candles last looked: where it is gone, others have dropped it.",
    )
    _comment("FUNCTION retention_horizon()", "Trades older than this are refused, for others of their candles may be gone.")


def _watch_inserts() -> None:
    # As the owner, so that a role which may insert trades needs no right on the tables kept here. Every range is noted,
    # not only those of late trades: whether a candle has been materialized without a trade is known when the transaction
    # ends, however long that takes, and TimescaleDB notes nothing of a COPY into a table with such a trigger (2.29.2).
    # Only symbols with a newer trade are written to newest_trades, and in their order: writers wait for each other
    # little, and never in a circle.
    op.execute("""
        CREATE FUNCTION trades_stored() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, public, pg_temp
        AS $$
        DECLARE
            oldest timestamptz;
            horizon timestamptz;
        BEGIN
            SELECT min(time) INTO oldest FROM stored;
            IF oldest < now() - INTERVAL '1 day' THEN
                horizon := retention_horizon();
                IF oldest < horizon THEN
                    RAISE check_violation USING
                        MESSAGE = format('a trade at %s is older than the retention horizon, %s', oldest, horizon),
                        DETAIL = 'The other trades of its candle have been dropped.',
                        TABLE = 'trades', CONSTRAINT = 'trades_within_retention';
                END IF;
            END IF;
            INSERT INTO stale_ranges (since, until)
            SELECT min(time), max(time)
            FROM stored
            GROUP BY time_bucket(INTERVAL '1 hour', time);
            INSERT INTO newest_trades AS known (symbol, time, trade_id, price, volume)
            SELECT newest.symbol, newest.time, newest.trade_id, newest.price, newest.volume
            FROM (
                SELECT DISTINCT ON (symbol) symbol, time, trade_id, price, volume
                FROM stored
                ORDER BY symbol, time DESC, trade_id DESC
            ) AS newest
            LEFT JOIN newest_trades AS before USING (symbol)
            WHERE before.symbol IS NULL OR (newest.time, newest.trade_id) > (before.time, before.trade_id)
            ORDER BY newest.symbol
            ON CONFLICT (symbol) DO UPDATE
            SET time = excluded.time, trade_id = excluded.trade_id, price = excluded.price, volume = excluded.volume
            WHERE (excluded.time, excluded.trade_id) > (known.time, known.trade_id);
            RETURN NULL;
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER trades_stored
        AFTER INSERT ON trades
        REFERENCING NEW TABLE AS stored
        FOR EACH STATEMENT EXECUTE FUNCTION trades_stored()
    """)
    _comment(
        "FUNCTION trades_stored()", "After INSERT and COPY: refuses trades beyond retention, notes ranges and the newest."
    )


def _watch_other_changes() -> None:
    # Row by row: a hypertable with a columnstore has no transition tables for these.
    op.execute("""
        CREATE FUNCTION trades_changed() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, public, pg_temp
        AS $$
        BEGIN
            INSERT INTO stale_ranges (since, until) VALUES (old.time, old.time);
            DELETE FROM newest_trades
            WHERE symbol = old.symbol AND time = old.time AND trade_id = old.trade_id;
            IF FOUND THEN
                INSERT INTO newest_trades (symbol, time, trade_id, price, volume)
                SELECT symbol, time, trade_id, price, volume
                FROM trades
                WHERE symbol = old.symbol
                ORDER BY time DESC, trade_id DESC
                LIMIT 1;
            END IF;
            IF TG_OP = 'UPDATE' THEN
                INSERT INTO stale_ranges (since, until) VALUES (new.time, new.time);
                INSERT INTO newest_trades AS known (symbol, time, trade_id, price, volume)
                VALUES (new.symbol, new.time, new.trade_id, new.price, new.volume)
                ON CONFLICT (symbol) DO UPDATE
                SET time = excluded.time, trade_id = excluded.trade_id, price = excluded.price, volume = excluded.volume
                WHERE (excluded.time, excluded.trade_id) >= (known.time, known.trade_id);
            END IF;
            RETURN NULL;
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER trades_changed
        AFTER UPDATE OR DELETE ON trades
        FOR EACH ROW EXECUTE FUNCTION trades_changed()
    """)
    op.execute("""
        CREATE FUNCTION trades_truncated() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, public, pg_temp
        AS $$
        BEGIN
            INSERT INTO stale_ranges (since, until)
            SELECT range_start, range_end - INTERVAL '1 microsecond'
            FROM timescaledb_information.chunks
            WHERE hypertable_schema = 'public' AND hypertable_name = 'trades';
            UPDATE retention SET oldest_chunk = NULL;
            DELETE FROM newest_trades;
            RETURN NULL;
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER trades_truncated
        BEFORE TRUNCATE ON trades
        FOR EACH STATEMENT EXECUTE FUNCTION trades_truncated()
    """)
    # Or a role with a table of its own could put them on that, and write here as their owner.
    op.execute("REVOKE EXECUTE ON FUNCTION trades_stored(), trades_changed(), trades_truncated() FROM PUBLIC")
    _comment(
        "FUNCTION trades_changed()", "After UPDATE and DELETE: notes the stale candles, and finds the newest trade anew."
    )
    _comment(
        "FUNCTION trades_truncated()",
        "Before TRUNCATE: all candles of the trades are stale, and there is no newest trade any more.",
    )


def _comment(what: str, text: str) -> None:
    op.execute(f"COMMENT ON {what} IS '{text}'".replace(":", r"\:"))
