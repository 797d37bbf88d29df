-- Frozen: part of revision 0015, never edited. The present text of functions and views is in alembic/sql/.
-- The form of symbols, and symbols whose prices may be zero or negative.

-- Printable ASCII that needs no escape in CSV, in JSON and in array literals: no comma, semicolon, quote, backslash, bracket or
-- brace. No % and ?, which mean something else in a URL that is not escaped, and none of the first characters that
-- spreadsheets take for a formula. A dot at the start needs a letter or digit, because /./ and /../ vanish from paths.
ALTER TABLE symbols
    DROP CONSTRAINT symbols_symbol_form,
    ADD CONSTRAINT symbols_symbol_form
        CHECK (symbol ~ '^(?:\.?[A-Z0-9]|[$^])(?: ?[A-Z0-9._/^=:+&#@!*$()-])*$' AND length(symbol) <= 64),
    ADD COLUMN signed boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN symbols.symbol IS
    'Symbol in upper case: letters, digits, single spaces and . _ / ^ = : + & # @ ! * $ ( ) -, at most 64 characters.';
COMMENT ON COLUMN symbols.signed IS
    'True if trades may have prices of 0 or less. It stays true while there are such trades.';

-- Rows in the columnstore are not read again: the former constraint was stricter.
ALTER TABLE trades DROP CONSTRAINT trades_price_positive;
ALTER TABLE trades
    ADD CONSTRAINT trades_price_in_range CHECK (price > -1e30 AND price < 1e30 AND scale(price) <= 30);

COMMENT ON COLUMN trades.price IS 'Price of one unit, exact. Greater than 0 unless symbols.signed is true.';

CREATE OR REPLACE FUNCTION reject_price(symbol text, price numeric) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE check_violation USING
        MESSAGE = format('the price of a trade of %s must be greater than 0, not %s', symbol, price),
        HINT = format('If %1$s has such prices: UPDATE symbols SET signed = true WHERE symbol = %1$L', symbol),
        TABLE = 'trades', COLUMN = 'price', CONSTRAINT = 'trades_price_positive';
END
$$;

COMMENT ON FUNCTION reject_price(text, numeric) IS 'Raises the error for a price of 0 or less of a symbol that is not signed.';

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
    lowest_price numeric;
    rejected record;
    horizon timestamptz;
    fresh constant timestamptz := fresh_since();
    first_fresh timestamptz;
BEGIN
    SELECT count(*), min(time), max(time), min(write_id), max(write_id), min(price), min(time) FILTER (WHERE time >= fresh)
    INTO number, oldest, newest, lowest, highest, lowest_price, first_fresh
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
    -- Behind the lock, which signed_checked() waits for. Over 10,000 trades, the minimum costs as much as a check of each price.
    IF lowest_price <= 0 THEN
        SELECT symbol, price
        INTO rejected
        FROM stored JOIN symbols USING (symbol)
        WHERE price <= 0 AND NOT signed
        ORDER BY symbol, time, trade_id
        LIMIT 1;
        IF FOUND THEN
            PERFORM reject_price(rejected.symbol, rejected.price);
        END IF;
    END IF;
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
    'After INSERT and COPY: rejects trades beyond the retention horizon and prices of 0 or less of symbols that are not signed, '
    'records the commit, stale ranges and latest trades.';

CREATE OR REPLACE FUNCTION trades_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- As in trades_stored().
    PERFORM 1 FROM symbols WHERE symbol IN (old.symbol, new.symbol) ORDER BY symbol FOR UPDATE;
    IF new.price <= 0 AND EXISTS (SELECT FROM symbols WHERE symbol = new.symbol AND NOT signed) THEN
        PERFORM reject_price(new.symbol, new.price);
    END IF;
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
    'After UPDATE and DELETE, for each trade: rejects prices of 0 or less of symbols that are not signed, and finds the latest '
    'trade again.';

CREATE OR REPLACE FUNCTION signed_checked() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- Waits for transactions that have stored or changed trades of the symbol; later ones wait for this one.
    PERFORM 1 FROM symbols WHERE symbol = old.symbol FOR UPDATE;
    -- Weekly candles instead of all trades of the symbol, and the trades whose candles are yet to be refreshed.
    IF EXISTS (SELECT FROM candles_1w WHERE symbol = old.symbol AND low <= 0) OR EXISTS (
        SELECT
        FROM stale_ranges
        JOIN trades ON trades.time BETWEEN stale_ranges.since AND stale_ranges.until
        WHERE trades.symbol = old.symbol AND trades.price <= 0
    ) THEN
        RAISE check_violation USING
            MESSAGE = format('%s has trades with prices of 0 or less, so it stays signed', old.symbol),
            DETAIL = 'Candles of trades that retention has dropped count as well.',
            TABLE = 'symbols', COLUMN = 'signed', CONSTRAINT = 'symbols_signed_needed';
    END IF;
    RETURN new;
END
$$;

CREATE TRIGGER symbols_signed_checked
BEFORE UPDATE OF signed ON symbols
FOR EACH ROW WHEN (old.signed AND NOT new.signed) EXECUTE FUNCTION signed_checked();

COMMENT ON FUNCTION signed_checked() IS
    'Before UPDATE of symbols.signed to false: rejects it while the symbol has trades with prices of 0 or less.';

REVOKE EXECUTE ON FUNCTION reject_price(text, numeric), signed_checked() FROM PUBLIC;
