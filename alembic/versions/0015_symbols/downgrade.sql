-- Frozen: part of revision 0015, never edited.

-- Nothing is deleted: with such data, the downgrade fails.
DO $$
BEGIN
    IF EXISTS (SELECT FROM candles_1w WHERE low <= 0) OR EXISTS (SELECT FROM trades WHERE price <= 0) THEN
        RAISE check_violation USING
            MESSAGE = 'there are trades with prices of 0 or less, which revision 0014 can not hold: delete them first';
    END IF;
END
$$;

DROP TRIGGER symbols_signed_checked ON symbols;
DROP FUNCTION signed_checked();

CREATE OR REPLACE FUNCTION trades_stored() RETURNS trigger
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
    fresh constant timestamptz := fresh_since();
    first_fresh timestamptz;
BEGIN
    SELECT count(*), min(time), max(time), min(write_id), max(write_id), min(time) FILTER (WHERE time >= fresh)
    INTO number, oldest, newest, lowest, highest, first_fresh
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
    INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time, first_fresh)
    VALUES (this, 'store', number, oldest, newest, first_fresh);
    IF oldest < fresh THEN
        INSERT INTO stale_ranges (write_id, since, until)
        SELECT this, min(time), max(time)
        FROM stored
        WHERE time < fresh
        GROUP BY time_bucket(INTERVAL '1 hour', time);
    END IF;
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

COMMENT ON FUNCTION trades_stored() IS
    'After INSERT and COPY: rejects trades beyond the retention horizon, records the commit, stale ranges and latest trades.';

CREATE OR REPLACE FUNCTION trades_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- As in trades_stored().
    PERFORM 1 FROM symbols WHERE symbol IN (old.symbol, new.symbol) ORDER BY symbol FOR UPDATE;
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
        INSERT INTO latest_trades AS known (symbol, time, trade_id, price, volume)
        VALUES (new.symbol, new.time, new.trade_id, new.price, new.volume)
        ON CONFLICT (symbol) DO UPDATE
        SET time = excluded.time, trade_id = excluded.trade_id, price = excluded.price, volume = excluded.volume
        WHERE (excluded.time, excluded.trade_id) >= (known.time, known.trade_id);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION trades_changed() IS
    'After UPDATE and DELETE, for each trade: finds the latest trade again.';

DROP FUNCTION reject_price(text, numeric);

ALTER TABLE trades DROP CONSTRAINT trades_price_in_range;
ALTER TABLE trades
    ADD CONSTRAINT trades_price_positive CHECK (price > 0 AND price < 1e30 AND scale(price) <= 30);
COMMENT ON COLUMN trades.price IS 'Price of one unit, exact.';

ALTER TABLE symbols
    DROP CONSTRAINT symbols_symbol_form,
    ADD CONSTRAINT symbols_symbol_form CHECK (symbol ~ '^[A-Z0-9^][A-Z0-9._/^=-]{0,31}$'),
    DROP COLUMN signed;
COMMENT ON COLUMN symbols.symbol IS 'Symbol in upper case: letters, digits and . _ / ^ = -, at most 32 characters.';
