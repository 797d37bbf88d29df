"""What the streams read: each trade once more, and each change of a closed candle, in the order of their commits.

Triggers write it, whoever stores the trade: the service, another process, psql.

Revision: 0006
Follows: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_tables()
    _number_by_commit()
    _watch_trades()
    _create_advance()
    _create_trim()


def downgrade() -> None:
    op.execute("SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name = 'trim_stream'")
    op.execute("DROP PROCEDURE trim_stream(integer, jsonb)")
    op.execute("DROP FUNCTION advance_stream()")
    for trigger in ("trades_streamed", "trades_revised"):
        op.execute(f"DROP TRIGGER {trigger} ON trades")
        op.execute(f"DROP FUNCTION {trigger}()")
    op.execute("DROP TABLE stream_events")
    op.execute("DROP FUNCTION stream_committed()")
    op.execute("DROP TABLE stream_commits")
    op.execute("DROP TABLE stream_late_candles")
    op.execute("DROP TABLE stream_clock")
    op.execute("DROP TABLE stream_order")
    op.execute("DROP FUNCTION stream_is_late(timestamptz, timestamptz)")
    op.execute("DROP SEQUENCE stream_statements")
    op.execute("DROP SEQUENCE stream_positions")


def _create_tables() -> None:
    op.execute("CREATE SEQUENCE stream_statements")
    op.execute("CREATE SEQUENCE stream_positions")
    op.execute("""
        CREATE TABLE stream_events (
            statement bigint NOT NULL,
            number integer NOT NULL,
            kind text NOT NULL,
            symbol text NOT NULL,
            time timestamptz NOT NULL,
            trade_id bigint,
            price numeric,
            volume numeric,
            "interval" text,
            CONSTRAINT stream_events_pkey PRIMARY KEY (statement, number),
            CONSTRAINT stream_events_kind_known CHECK (kind IN ('trade', 'closing', 'revision'))
        )
    """)
    op.execute("""
        CREATE TABLE stream_commits (
            position bigint NOT NULL,
            statement bigint NOT NULL,
            stored_at timestamptz NOT NULL,
            closed_until timestamptz NOT NULL,
            CONSTRAINT stream_commits_pkey PRIMARY KEY (position)
        )
    """)
    op.execute("""
        CREATE TABLE stream_late_candles (
            id bigint GENERATED ALWAYS AS IDENTITY,
            symbol text NOT NULL,
            bucket timestamptz NOT NULL,
            CONSTRAINT stream_late_candles_pkey PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE TABLE stream_order ()")
    op.execute("CREATE TABLE stream_clock (closed_until timestamptz NOT NULL)")
    op.execute("CREATE UNIQUE INDEX stream_clock_one_row ON stream_clock ((true))")
    op.execute("INSERT INTO stream_clock (closed_until) VALUES (date_trunc('minute', now()))")
    _comment("SEQUENCE stream_statements", "Numbers of the statements in stream_events.")
    _comment("SEQUENCE stream_positions", "Positions of stream_commits.")
    _comment(
        "TABLE stream_events",
        "What the streams tell of, kept for an hour: each trade stored, except where market_data.stream is off, and each "
        "candle that has closed or was changed afterwards. Its order is that of stream_commits, then number.",
    )
    _comment("COLUMN stream_events.statement", "The statement that wrote it.")
    _comment("COLUMN stream_events.number", "From 1 within the statement.")
    _comment(
        "COLUMN stream_events.kind",
        "trade: has been stored; closing: the candle of symbol and interval has closed; revision: those of all intervals "
        "have changed, and show it by now.",
    )
    _comment("COLUMN stream_events.symbol", "What was traded.")
    _comment("COLUMN stream_events.time", "When the trade happened; of a candle, start of its bucket.")
    _comment("COLUMN stream_events.trade_id", "Of a trade: its number within symbol and instant.")
    _comment("COLUMN stream_events.price", "Of a trade: price of one unit, exact.")
    _comment("COLUMN stream_events.volume", "Of a trade: units traded, exact.")
    _comment('COLUMN stream_events."interval"', "Of a closing: the interval of its candle.")
    _comment("TABLE stream_commits", "The statements of stream_events in the order in which they were committed.")
    _comment("COLUMN stream_commits.position", "Follows the order of commits: who sees one has seen, or can see, all below.")
    _comment("COLUMN stream_commits.statement", "The statement of stream_events.")
    _comment("COLUMN stream_commits.stored_at", "When it was about to be committed.")
    _comment("COLUMN stream_commits.closed_until", "The closing of all buckets that ended by then had been told before it.")
    _comment(
        "TABLE stream_late_candles",
        "Candles of one minute that got a trade when they may have been materialized: told as a revision once refreshed.",
    )
    _comment("COLUMN stream_late_candles.id", "In the order of arrival.")
    _comment("SEQUENCE stream_late_candles_id_seq", "Numbers of stream_late_candles.")
    _comment("COLUMN stream_late_candles.symbol", "What was traded.")
    _comment("COLUMN stream_late_candles.bucket", "Start of the minute.")
    _comment("TABLE stream_order", "Empty; locked by whoever is committing what stream_events tells of.")
    _comment("TABLE stream_clock", "How far advance_stream() has got, in one row.")
    _comment("COLUMN stream_clock.closed_until", "Whole minute up to which the closing of buckets has been told.")
    op.execute("""
        CREATE FUNCTION stream_is_late("time" timestamptz, stored_at timestamptz) RETURNS boolean
        LANGUAGE sql IMMUTABLE
        -- A minute is materialized once it has been closed for as long again; less the time that a commit may take.
        RETURN date_bin(INTERVAL '1 minute', "time", '2000-01-01 00:00:00Z') <= stored_at - INTERVAL '90 seconds'
    """)
    _comment(
        "FUNCTION stream_is_late(timestamptz, timestamptz)",
        "Whether the minute of a trade may have been materialized before the trade was stored, and so does not show it yet.",
    )


def _number_by_commit() -> None:
    # At the end of the transaction, behind the lock of whoever is committing: so the positions follow the order of the
    # commits, however long before them the statements were. It costs no concurrency that NOTIFY does not cost already,
    # which has its senders commit one by one; and readers need not hold back what is newer than the oldest transaction
    # that still runs, which may be a refresh of minutes. A lock on a table, for anybody could take an advisory one.
    op.execute("""
        CREATE FUNCTION stream_committed() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, public, pg_temp
        AS $$
        DECLARE
            here bigint;
            clock timestamptz;
        BEGIN
            LOCK TABLE stream_order IN EXCLUSIVE MODE;
            here := nextval('stream_positions');
            clock := clock_timestamp();
            INSERT INTO stream_commits (position, statement, stored_at, closed_until)
            SELECT here, new.statement, clock, closed_until
            FROM stream_clock;
            INSERT INTO stream_late_candles (symbol, bucket)
            SELECT DISTINCT symbol, time_bucket(INTERVAL '1 minute', time)
            FROM stream_events
            WHERE statement = new.statement AND kind = 'trade' AND stream_is_late(time, clock);
            PERFORM pg_notify('market_data_stream', here::text);
            RETURN NULL;
        END
        $$
    """)
    op.execute("""
        CREATE CONSTRAINT TRIGGER stream_committed
        AFTER INSERT ON stream_events
        DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (new.number = 1) EXECUTE FUNCTION stream_committed()
    """)
    _comment(
        "FUNCTION stream_committed()",
        "At the end of a transaction: gives its statements their positions, and wakes the listeners of market_data_stream.",
    )


def _watch_trades() -> None:
    op.execute("""
        CREATE FUNCTION trades_streamed() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, public, pg_temp
        AS $$
        DECLARE
            this constant bigint := nextval('stream_statements');
        BEGIN
            INSERT INTO stream_events (statement, number, kind, symbol, time, trade_id, price, volume)
            SELECT this, row_number() OVER (ORDER BY time, symbol, trade_id), 'trade', symbol, time, trade_id, price, volume
            FROM stored;
            RETURN NULL;
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER trades_streamed
        AFTER INSERT ON trades
        REFERENCING NEW TABLE AS stored
        FOR EACH STATEMENT WHEN (current_setting('market_data.stream', true) IS DISTINCT FROM 'off')
        EXECUTE FUNCTION trades_streamed()
    """)
    # Row by row, as trades_changed, and for the same reason.
    op.execute("""
        CREATE FUNCTION trades_revised() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, public, pg_temp
        AS $$
        BEGIN
            INSERT INTO stream_late_candles (symbol, bucket)
            VALUES (old.symbol, time_bucket(INTERVAL '1 minute', old.time));
            IF TG_OP = 'UPDATE' THEN
                INSERT INTO stream_late_candles (symbol, bucket)
                VALUES (new.symbol, time_bucket(INTERVAL '1 minute', new.time));
            END IF;
            RETURN NULL;
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER trades_revised
        AFTER UPDATE OR DELETE ON trades
        FOR EACH ROW WHEN (current_setting('market_data.stream', true) IS DISTINCT FROM 'off')
        EXECUTE FUNCTION trades_revised()
    """)
    # Or a role with a table of its own could put them on that, and write here as their owner.
    op.execute("REVOKE EXECUTE ON FUNCTION stream_committed(), trades_streamed(), trades_revised() FROM PUBLIC")
    _comment("FUNCTION trades_streamed()", "After INSERT and COPY: copies the trades to stream_events.")
    _comment("FUNCTION trades_revised()", "After UPDATE and DELETE: notes the candle, whose revision is to be told.")


def _create_advance() -> None:
    # All symbols that may have a candle in a bucket: who reads finds that some have none. A second after the end of the
    # bucket, for what is about to be committed. Closings that nobody was there to tell are told within the hour for
    # which a stream reaches back.
    op.execute("""
        CREATE FUNCTION advance_stream() RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, public, pg_temp
        AS $$
        DECLARE
            before timestamptz;
            closed constant timestamptz := date_trunc('minute', now() - INTERVAL '1 second');
            this bigint;
        BEGIN
            SELECT closed_until INTO before FROM stream_clock;
            IF before >= closed AND NOT EXISTS (SELECT FROM stream_late_candles) THEN
                RETURN;
            END IF;
            SELECT closed_until INTO before FROM stream_clock FOR UPDATE SKIP LOCKED;
            IF NOT FOUND THEN
                RETURN;  -- another process is at it
            END IF;
            IF before < closed THEN
                UPDATE stream_clock SET closed_until = closed;
                this := nextval('stream_statements');
                INSERT INTO stream_events (statement, number, kind, symbol, time, "interval")
                SELECT this, row_number() OVER (ORDER BY ends, length, symbol), 'closing', symbol, ends - length, "interval"
                FROM (
                    VALUES
                        ('1m', INTERVAL '1 minute'), ('5m', INTERVAL '5 minutes'), ('15m', INTERVAL '15 minutes'),
                        ('30m', INTERVAL '30 minutes'), ('1h', INTERVAL '1 hour'), ('4h', INTERVAL '4 hours'),
                        ('1d', INTERVAL '24 hours'), ('1w', INTERVAL '168 hours')
                ) AS level ("interval", length)
                CROSS JOIN LATERAL (
                    SELECT time_bucket(length, closed) - length * n AS ends
                    FROM generate_series(0, 60) AS n
                ) AS bucket
                JOIN newest_trades ON newest_trades.time >= ends - length
                WHERE ends > greatest(before, closed - INTERVAL '1 hour');
            END IF;
            IF EXISTS (SELECT FROM stream_late_candles) THEN
                this := nextval('stream_statements');
                WITH settled AS (
                    DELETE FROM stream_late_candles AS late
                    WHERE NOT EXISTS (
                        SELECT FROM stale_ranges
                        WHERE since < late.bucket + INTERVAL '1 minute' AND until >= late.bucket
                    )
                    RETURNING symbol, bucket
                )
                INSERT INTO stream_events (statement, number, kind, symbol, time)
                SELECT this, row_number() OVER (ORDER BY bucket, symbol), 'revision', symbol, bucket
                FROM (SELECT DISTINCT symbol, bucket FROM settled) AS candle;
            END IF;
        END
        $$
    """)
    op.execute("REVOKE EXECUTE ON FUNCTION advance_stream() FROM PUBLIC")
    _comment(
        "FUNCTION advance_stream()",
        "Writes the candles that have closed by now, and the late ones that have been refreshed, into stream_events. The "
        "service calls it every second.",
    )


def _create_trim() -> None:
    # The last one older than an hour stays: it tells how far back the rest is complete.
    op.execute("""
        CREATE PROCEDURE trim_stream(job_id integer DEFAULT NULL, config jsonb DEFAULT NULL)
        LANGUAGE plpgsql
        AS $$
        BEGIN
            WITH old AS (
                DELETE FROM public.stream_commits
                WHERE position < (
                    SELECT max(position) FROM public.stream_commits WHERE stored_at < now() - INTERVAL '1 hour'
                )
                RETURNING statement
            )
            DELETE FROM public.stream_events WHERE statement IN (SELECT statement FROM old);
        END
        $$
    """)
    op.execute("REVOKE EXECUTE ON PROCEDURE trim_stream(integer, jsonb) FROM PUBLIC")
    op.execute("SELECT add_job('trim_stream', schedule_interval => INTERVAL '5 minutes')")
    _comment("PROCEDURE trim_stream(integer, jsonb)", "Deletes what streams need no more. A job runs it every 5 minutes.")


def _comment(what: str, text: str) -> None:
    op.execute(f"COMMENT ON {what} IS '{text}'".replace(":", r"\:"))
