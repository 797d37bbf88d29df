-- Present text of the functions and views of versions and commits.

CREATE OR REPLACE FUNCTION newest_version() RETURNS bigint
LANGUAGE sql STABLE
AS $$
    SELECT max(version) FROM public.data_version
$$;

CREATE OR REPLACE FUNCTION update_data_version(new_version bigint, change bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    LOCK TABLE stream_commit_lock IN EXCLUSIVE MODE;
    IF current_setting('transaction_isolation') = 'read committed' THEN
        WITH added AS (
            DELETE FROM data_version WHERE NOT main RETURNING version, trade_count
        )
        UPDATE data_version
        SET version = greatest(data_version.version, new_version, (SELECT max(version) FROM added)),
            trade_count = data_version.trade_count + change + (SELECT coalesce(sum(trade_count), 0) FROM added)
        WHERE main;
    ELSE
        INSERT INTO data_version (version, trade_count)
        SELECT coalesce(new_version, max(version)), change FROM data_version;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION fresh_since() RETURNS timestamptz
LANGUAGE sql VOLATILE
AS $$
    -- refreshed_until follows the clock within seconds, unless the job does not run; policies of coarser levels may run meanwhile.
    SELECT greatest(
        to_timestamp(0) + last_value * INTERVAL '1 microsecond',
        date_bin(INTERVAL '1 minute', clock_timestamp() - INTERVAL '1 minute', '2000-01-01 00:00:00Z')
    )
    FROM public.refreshed_until
$$;

CREATE OR REPLACE FUNCTION number_commit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this bigint;
    clock bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    committed timestamptz;
    fresh timestamptz;
    newest_time bigint;
BEGIN
    -- Behind the lock of the transaction that commits, so versions follow the order of commits however long before them the
    -- statements ran. It costs no concurrency that NOTIFY, whose senders commit one by one, doesn't cost already. Readers need
    -- not hold back versions above the oldest running transaction, which may be a refresh that takes minutes. A lock on a table,
    -- because any role could take an advisory one.
    LOCK TABLE stream_commit_lock IN EXCLUSIVE MODE;
    this := nextval('versions');
    clock := greatest(clock, (SELECT last_value FROM commit_clock));
    PERFORM setval('commit_clock', clock);
    committed := to_timestamp(0) + clock * INTERVAL '1 microsecond';
    DELETE FROM pending_commits WHERE write_id = new.write_id AND kind = new.kind;
    IF new.kind = 'truncate' THEN
        SELECT sum(trade_count) INTO new.trade_count FROM data_version;
        UPDATE retention SET truncated_version = this;
    END IF;
    SELECT last_value INTO newest_time FROM newest_trade_time;
    IF new.last_time > to_timestamp(0) + newest_time * INTERVAL '1 microsecond' THEN
        newest_time := (extract(epoch FROM new.last_time) * 1000000)::bigint;
        PERFORM setval('newest_trade_time', newest_time);
    END IF;
    INSERT INTO commits (
        version, kind, write_id, committed_at, trade_count, first_time, last_time, closed_until, newest_write_id, newest_time
    )
    SELECT
        this, new.kind, new.write_id, committed, new.trade_count, new.first_time, new.last_time, closed_until,
        write_ids.last_value, to_timestamp(0) + newest_time * INTERVAL '1 microsecond'
    FROM stream_progress CROSS JOIN write_ids;
    IF NOT EXISTS (SELECT FROM commit_blocks WHERE block = this / 10000 AND write_id <= new.write_id) THEN
        INSERT INTO commit_blocks (block, write_id) VALUES (this / 10000, new.write_id);
    END IF;
    PERFORM update_data_version(this, CASE
        WHEN new.kind = 'store' THEN new.trade_count
        WHEN new.kind IN ('cancel', 'truncate') THEN -new.trade_count
        ELSE 0
    END);
    -- Behind the lock, too: a refresh that began before has set the bound, one that begins later sees the trades.
    fresh := fresh_since();
    IF new.first_fresh < fresh THEN
        INSERT INTO stale_ranges (write_id, since, until)
        VALUES (new.write_id, new.first_fresh, least(new.last_time, fresh - INTERVAL '1 microsecond'));
    END IF;
    IF EXISTS (SELECT FROM stream_events WHERE write_id = new.write_id) THEN
        IF new.first_time < fresh THEN
            WITH late AS (
                UPDATE stream_events
                SET late = true
                WHERE write_id = new.write_id AND kind = 'trade' AND time < fresh AND NOT late
                RETURNING symbol, time
            )
            INSERT INTO stream_late_candles (write_id, symbol, bucket)
            SELECT DISTINCT new.write_id, symbol, time_bucket(INTERVAL '1 minute', time)
            FROM late;
        END IF;
        PERFORM pg_notify('market_data_stream', this::text);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION recount_trades() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = on
AS $$
DECLARE
    change bigint;
BEGIN
    -- A chunk created meanwhile would be missing in the plan of the count.
    LOCK TABLE trades IN SHARE UPDATE EXCLUSIVE MODE;
    -- In one snapshot, so that trades committed meanwhile are in both numbers or in neither.
    SELECT (SELECT count(*) FROM trades) - (SELECT sum(trade_count) FROM data_version) INTO change;
    IF change <> 0 THEN
        PERFORM update_data_version(NULL, change);
    END IF;
    RETURN change;
END
$$;
