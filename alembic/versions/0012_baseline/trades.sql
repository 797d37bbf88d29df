-- Frozen: part of revision 0012, never edited. The present text of functions and views is in alembic/sql/.
-- Symbols, trades, the latest trade of each symbol, ranges of stale candles, leases.

CREATE EXTENSION IF NOT EXISTS timescaledb;

COMMENT ON TABLE alembic_version IS 'Revision of this schema, kept by Alembic.';
COMMENT ON COLUMN alembic_version.version_num IS 'Newest migration that has run.';

CREATE TABLE symbols (
    symbol text NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    active boolean NOT NULL DEFAULT true,
    CONSTRAINT symbols_pkey PRIMARY KEY (symbol),
    CONSTRAINT symbols_symbol_form CHECK (symbol ~ '^[A-Z0-9^][A-Z0-9._/^=-]{0,31}$'),
    CONSTRAINT symbols_created_at_writable
        CHECK (created_at >= '0001-01-01 00:00:00Z' AND created_at < '10000-01-01 00:00:00Z')
);

COMMENT ON TABLE symbols IS 'Symbols that can be traded and queried.';
COMMENT ON COLUMN symbols.symbol IS 'Symbol in upper case: letters, digits and . _ / ^ = -, at most 32 characters.';
COMMENT ON COLUMN symbols.name IS 'Name of the instrument.';
COMMENT ON COLUMN symbols.created_at IS 'Time at which the symbol was added.';
COMMENT ON COLUMN symbols.active IS
    'True if trades of the symbol are accepted over HTTP and from the feed. Stored trades stay readable either way.';

-- Ids of the statements that write. trades_numbered() takes one before each statement, so currval() is the id of the
-- statement that runs. SELECT on the sequence lets every role that may insert trades evaluate the column default; it
-- doesn't allow nextval().
CREATE SEQUENCE write_ids;
GRANT SELECT ON SEQUENCE write_ids TO PUBLIC;

COMMENT ON SEQUENCE write_ids IS 'Ids of statements that write, in the order in which they start (not in the order of commits).';

-- No foreign key to symbols: each stored trade has its symbol in latest_trades, whose foreign key checks it once a statement
-- instead of once a row. COPY stores 165,000 trades a second instead of 84,000.
CREATE TABLE trades (
    time timestamptz NOT NULL,
    symbol text NOT NULL,
    trade_id bigint NOT NULL DEFAULT 0,
    price numeric NOT NULL,
    volume numeric NOT NULL,
    write_id bigint NOT NULL DEFAULT currval('write_ids'),
    CONSTRAINT trades_pkey PRIMARY KEY (symbol, time, trade_id),
    -- The range of RFC 3339.
    CONSTRAINT trades_time_writable CHECK (time >= '0001-01-01 00:00:00Z' AND time < '10000-01-01 00:00:00Z'),
    -- Limits far beyond any market, within which a vwap is always a number that clients can read.
    CONSTRAINT trades_price_positive CHECK (price > 0 AND price < 1e30 AND scale(price) <= 30),
    CONSTRAINT trades_volume_not_negative CHECK (volume >= 0 AND volume < 1e30 AND scale(volume) <= 30)
);

SELECT create_hypertable('trades', by_range('time', partition_interval => INTERVAL '7 days'), create_default_indexes => false);

-- Older than the 3 hours that refresh_candles() reads repeatedly. Late trades can still be stored in the columnstore.
ALTER TABLE trades SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'symbol',
    timescaledb.orderby = 'time DESC, trade_id DESC'
);
CALL add_columnstore_policy('trades', after => INTERVAL '7 days', schedule_interval => INTERVAL '1 hour');

COMMENT ON TABLE trades IS
    'Every trade, once: a hypertable with chunks of 7 days. Query it with a symbol and a range of time.';
COMMENT ON COLUMN trades.time IS 'Time of the trade at its source.';
COMMENT ON COLUMN trades.symbol IS 'Traded symbol.';
COMMENT ON COLUMN trades.trade_id IS
    'Id from the source; distinguishes trades of one symbol at the same time. 0 if the source has no ids.';
COMMENT ON COLUMN trades.price IS 'Price of one unit, exact.';
COMMENT ON COLUMN trades.volume IS 'Units traded, exact.';
COMMENT ON COLUMN trades.write_id IS
    'Statement that stored or last corrected the trade; set by the database. commits says when it was committed.';

CREATE TABLE latest_trades (
    symbol text NOT NULL,
    time timestamptz NOT NULL,
    trade_id bigint NOT NULL,
    price numeric NOT NULL,
    volume numeric NOT NULL,
    CONSTRAINT latest_trades_pkey PRIMARY KEY (symbol),
    CONSTRAINT latest_trades_symbol_fkey FOREIGN KEY (symbol) REFERENCES symbols (symbol)
)
WITH (fillfactor = 50);

COMMENT ON TABLE latest_trades IS
    'Latest trade of each symbol (by time, then trade_id), kept by triggers on trades. It stays after retention has dropped '
    'the trade itself.';
COMMENT ON COLUMN latest_trades.symbol IS 'Traded symbol.';
COMMENT ON COLUMN latest_trades.time IS 'Time of the trade.';
COMMENT ON COLUMN latest_trades.trade_id IS 'Id of the trade within its symbol and time.';
COMMENT ON COLUMN latest_trades.price IS 'Price of one unit, exact.';
COMMENT ON COLUMN latest_trades.volume IS 'Units traded, exact.';

CREATE VIEW latest_prices AS
SELECT symbol, name, price, volume, time
FROM latest_trades
JOIN symbols USING (symbol);

COMMENT ON VIEW latest_prices IS 'Latest price of every symbol that has ever been traded.';
COMMENT ON COLUMN latest_prices.symbol IS 'Symbol.';
COMMENT ON COLUMN latest_prices.name IS 'Name of the instrument.';
COMMENT ON COLUMN latest_prices.price IS 'Price of the latest trade.';
COMMENT ON COLUMN latest_prices.volume IS 'Units of the latest trade.';
COMMENT ON COLUMN latest_prices.time IS 'Time of the latest trade.';

-- Every range is recorded, not only ranges of late trades: only at the end of the transaction, however long it takes, is it
-- known whether a candle was materialized without one of its trades. TimescaleDB 2.29.2 logs no invalidation for COPY into a
-- hypertable with a transition-table trigger, so its own log is not enough.
CREATE TABLE stale_ranges (
    id bigint GENERATED ALWAYS AS IDENTITY,
    level smallint NOT NULL DEFAULT 1,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT stale_ranges_pkey PRIMARY KEY (id)
);

COMMENT ON TABLE stale_ranges IS
    'Ranges of time in which trades were stored, changed or deleted and whose candles refresh_candles() has yet to refresh; '
    'written by triggers on trades.';
COMMENT ON COLUMN stale_ranges.id IS 'Id, in the order of arrival.';
COMMENT ON SEQUENCE stale_ranges_id_seq IS 'Ids of stale_ranges.';
COMMENT ON COLUMN stale_ranges.level IS
    'Finest interval whose candles are still stale: 1 for 1m, 2 for 5m and so on. Refreshed from there upwards.';
COMMENT ON COLUMN stale_ranges.since IS 'Time of the first trade, or start of its bucket.';
COMMENT ON COLUMN stale_ranges.until IS 'Time of the last trade.';

-- All trigger functions run as the owner of the tables, so a role that may insert trades needs no privilege on the tables
-- that the triggers write. PUBLIC may not execute them: a role could attach them to a table of its own and write here as
-- their owner.

CREATE FUNCTION trades_numbered() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM nextval('write_ids');
    RETURN NULL;
END
$$;

CREATE TRIGGER trades_numbered
BEFORE INSERT OR UPDATE OR DELETE ON trades
FOR EACH STATEMENT EXECUTE FUNCTION trades_numbered();

COMMENT ON FUNCTION trades_numbered() IS
    'Before each INSERT, COPY, UPDATE and DELETE: takes the write_id of the statement, which currval(''write_ids'') then returns.';

CREATE FUNCTION trades_corrected() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    new.write_id := CASE
        WHEN (new.symbol, new.time, new.trade_id, new.price, new.volume)
            IS DISTINCT FROM (old.symbol, old.time, old.trade_id, old.price, old.volume)
        THEN currval('write_ids')
        ELSE old.write_id
    END;
    RETURN new;
END
$$;

CREATE TRIGGER trades_corrected
BEFORE UPDATE ON trades
FOR EACH ROW EXECUTE FUNCTION trades_corrected();

COMMENT ON FUNCTION trades_corrected() IS 'Before UPDATE: sets write_id of changed trades, whatever the statement says.';

CREATE FUNCTION trades_stored() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this constant bigint := currval('write_ids');
    number bigint;
    oldest timestamptz;
    newest timestamptz;
    lowest bigint;
    highest bigint;
    horizon timestamptz;
BEGIN
    SELECT count(*), min(time), max(time), min(write_id), max(write_id)
    INTO number, oldest, newest, lowest, highest
    FROM stored;
    IF number = 0 THEN
        RETURN NULL;
    END IF;
    IF lowest <> this OR highest <> this THEN
        RAISE generated_always USING
            MESSAGE = 'trades.write_id is set by the database: leave it out',
            TABLE = 'trades', COLUMN = 'write_id';
    END IF;
    IF oldest < now() - INTERVAL '1 day' THEN
        horizon := retention_horizon();
        IF oldest < horizon THEN
            RAISE check_violation USING
                MESSAGE = format('a trade at %s is older than the retention horizon, %s', oldest, horizon),
                DETAIL = 'The other trades of its candle have been dropped.',
                TABLE = 'trades', CONSTRAINT = 'trades_within_retention';
        END IF;
    END IF;
    INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
    VALUES (this, 'store', number, oldest, newest);
    INSERT INTO stale_ranges (since, until)
    SELECT min(time), max(time)
    FROM stored
    GROUP BY time_bucket(INTERVAL '1 hour', time);
    -- Writers that store trades share the rows of their symbols, and trades_changed() locks them exclusively: each sees
    -- the other's trades before it looks for the latest one. The rows of latest_trades can't be locked for that, because they
    -- are deleted and inserted again. In the order of the symbols, so that no two writers wait for each other; in a statement
    -- of its own, so that the next statement sees what was committed meanwhile.
    PERFORM 1 FROM symbols WHERE symbol IN (SELECT symbol FROM stored) ORDER BY symbol FOR KEY SHARE;
    -- Only symbols with a later trade are written, in their order: writers seldom wait for each other, and never in a circle.
    INSERT INTO latest_trades AS known (symbol, time, trade_id, price, volume)
    SELECT latest.symbol, latest.time, latest.trade_id, latest.price, latest.volume
    FROM (
        SELECT DISTINCT ON (symbol) symbol, time, trade_id, price, volume
        FROM stored
        ORDER BY symbol, time DESC, trade_id DESC
    ) AS latest
    LEFT JOIN latest_trades AS before USING (symbol)
    WHERE before.symbol IS NULL OR (latest.time, latest.trade_id) > (before.time, before.trade_id)
    ORDER BY latest.symbol
    ON CONFLICT (symbol) DO UPDATE
    SET time = excluded.time, trade_id = excluded.trade_id, price = excluded.price, volume = excluded.volume
    WHERE (excluded.time, excluded.trade_id) > (known.time, known.trade_id);
    RETURN NULL;
END
$$;

CREATE TRIGGER trades_stored
AFTER INSERT ON trades
REFERENCING NEW TABLE AS stored
FOR EACH STATEMENT EXECUTE FUNCTION trades_stored();

COMMENT ON FUNCTION trades_stored() IS
    'After INSERT and COPY: rejects trades beyond the retention horizon, records the commit, stale ranges and latest trades.';

CREATE FUNCTION trades_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- As in trades_stored().
    PERFORM 1 FROM symbols WHERE symbol IN (old.symbol, new.symbol) ORDER BY symbol FOR UPDATE;
    INSERT INTO stale_ranges (since, until) VALUES (old.time, old.time);
    DELETE FROM latest_trades
    WHERE symbol = old.symbol AND time = old.time AND trade_id = old.trade_id;
    IF FOUND THEN
        INSERT INTO latest_trades (symbol, time, trade_id, price, volume)
        SELECT symbol, time, trade_id, price, volume
        FROM trades
        WHERE symbol = old.symbol
        ORDER BY time DESC, trade_id DESC
        LIMIT 1;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO stale_ranges (since, until) VALUES (new.time, new.time);
        INSERT INTO latest_trades AS known (symbol, time, trade_id, price, volume)
        VALUES (new.symbol, new.time, new.trade_id, new.price, new.volume)
        ON CONFLICT (symbol) DO UPDATE
        SET time = excluded.time, trade_id = excluded.trade_id, price = excluded.price, volume = excluded.volume
        WHERE (excluded.time, excluded.trade_id) >= (known.time, known.trade_id);
    END IF;
    RETURN NULL;
END
$$;

-- Row by row: a hypertable with a columnstore has no transition tables for UPDATE and DELETE.
CREATE TRIGGER trades_changed
AFTER UPDATE OR DELETE ON trades
FOR EACH ROW EXECUTE FUNCTION trades_changed();

COMMENT ON FUNCTION trades_changed() IS
    'After UPDATE and DELETE, for each trade: records the stale range and finds the latest trade again.';

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
    DELETE FROM latest_trades;
    -- number_commit() fills in the number of trades.
    INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
    SELECT nextval('write_ids'), 'truncate', 0, min(range_start), max(range_end)
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'trades';
    RETURN NULL;
END
$$;

CREATE TRIGGER trades_truncated
BEFORE TRUNCATE ON trades
FOR EACH STATEMENT EXECUTE FUNCTION trades_truncated();

COMMENT ON FUNCTION trades_truncated() IS
    'Before TRUNCATE: all candles of the trades become stale, no symbol has a latest trade, and the commit is recorded.';

REVOKE EXECUTE ON FUNCTION trades_numbered(), trades_corrected(), trades_stored(), trades_changed(), trades_truncated()
FROM PUBLIC;

CREATE TABLE leases (
    name text NOT NULL,
    holder text NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT leases_pkey PRIMARY KEY (name)
);

COMMENT ON TABLE leases IS 'Leases on duties that exactly one process performs at a time, such as feeding.';
COMMENT ON COLUMN leases.name IS 'Name of the duty.';
COMMENT ON COLUMN leases.holder IS 'Holder of the lease: host, process and a random part.';
COMMENT ON COLUMN leases.expires_at IS 'Time from which another process may take the lease, unless its holder extends it first.';
