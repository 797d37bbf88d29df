-- Frozen: part of revision 0012, never edited. The present text of functions and views is in alembic/sql/.
-- Versions: every transaction that changes what a query returns takes a version when it commits.

CREATE SEQUENCE versions;
COMMENT ON SEQUENCE versions IS 'Versions, in the order of commits. A transaction that fails while it commits leaves a gap.';

-- A sequence keeps its value when a transaction is rolled back, and is read without a snapshot: a transaction of isolation
-- level REPEATABLE READ sees the time of the last commit, too.
CREATE SEQUENCE commit_clock;
COMMENT ON SEQUENCE commit_clock IS 'Time of the last commit, in microseconds since 1970.';

-- Kept forever, so columns are chosen for few bytes in the columnstore. No CHECK on kind: later revisions add kinds, and
-- constraints of a hypertable with a columnstore can't be replaced.
CREATE TABLE commits (
    version bigint NOT NULL,
    kind text NOT NULL,
    write_id bigint,
    committed_at timestamptz NOT NULL,
    trade_count bigint NOT NULL,
    first_time timestamptz,
    last_time timestamptz,
    closed_until timestamptz NOT NULL,
    CONSTRAINT commits_pkey PRIMARY KEY (version)
);

SELECT create_hypertable('commits', by_range('version', partition_interval => 1000000), create_default_indexes => false);

COMMENT ON TABLE commits IS
    'Every statement that changed what a query returns, in the order of commits: a hypertable with chunks of a million '
    'versions, kept forever. Each statement of a transaction has a row; a reader sees all of them or none.';
COMMENT ON COLUMN commits.version IS
    'Follows the order of commits: a transaction that sees a version sees, or can see, all lower ones.';
COMMENT ON COLUMN commits.kind IS
    'store: trades were stored; correct: trades were corrected, or got another symbol, time or trade_id (a cancel in '
    'trade_changes); cancel: trades were deleted; truncate: all trades were deleted; '
    'close: candles closed; revise: closed candles changed; restore: the database was restored from a backup, and versions '
    'between the previous row and this one may have been used before.';
COMMENT ON COLUMN commits.write_id IS 'The statement: trades.write_id, trade_changes.write_id or stream_events.write_id.';
COMMENT ON COLUMN commits.committed_at IS
    'Time of the commit. Never earlier than that of a lower version, even if the clock of the server was set back.';
COMMENT ON COLUMN commits.trade_count IS 'Number of trades stored, corrected or deleted; 0 for candles.';
COMMENT ON COLUMN commits.first_time IS 'Smallest time of the trades; of candles, start of the earliest bucket.';
COMMENT ON COLUMN commits.last_time IS 'Greatest time of the trades; of candles, start of the latest bucket.';
COMMENT ON COLUMN commits.closed_until IS 'All buckets that end by then were published as closed by lower versions.';

CREATE TABLE commit_blocks (
    block bigint NOT NULL,
    write_id bigint NOT NULL,
    CONSTRAINT commit_blocks_pkey PRIMARY KEY (block, write_id)
);

COMMENT ON TABLE commit_blocks IS
    'Index of commits by write_id, which does not follow the order of commits: min(write_id) of a block is the smallest of '
    'its versions. A block has a few rows, one for each commit that had a smaller write_id than those before it.';
COMMENT ON COLUMN commit_blocks.block IS 'Block of 10,000 versions: version / 10000.';
COMMENT ON COLUMN commit_blocks.write_id IS 'The smallest write_id of the block when it was committed.';

CREATE TABLE data_version (
    version bigint NOT NULL,
    trade_count bigint NOT NULL,
    main boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX data_version_one_main ON data_version (main) WHERE main;
INSERT INTO data_version (version, trade_count, main) VALUES (0, 0, true);

COMMENT ON TABLE data_version IS
    'Newest version, max(version), and number of trades, sum(trade_count), as of the snapshot of the reader. One row; a '
    'transaction of an isolation level above READ COMMITTED, which may not update a row that others have updated, adds '
    'one, and the next commit merges it.';
COMMENT ON COLUMN data_version.version IS 'Newest version; 0 before the first.';
COMMENT ON COLUMN data_version.trade_count IS 'Number of trades; of an additional row, by how many it changes.';
COMMENT ON COLUMN data_version.main IS 'True for the row that is updated.';

CREATE FUNCTION newest_version() RETURNS bigint
LANGUAGE sql STABLE
AS $$
    SELECT max(version) FROM public.data_version
$$;

COMMENT ON FUNCTION newest_version() IS 'Newest version whose changes the snapshot of the caller contains; 0 before the first.';

SELECT set_integer_now_func('commits', 'newest_version');
ALTER TABLE commits SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = '',
    timescaledb.orderby = 'version'
);
CALL add_columnstore_policy('commits', after => BIGINT '100000', schedule_interval => INTERVAL '1 hour');

CREATE TABLE stream_commit_lock ();
COMMENT ON TABLE stream_commit_lock IS 'Empty. Locked by the transaction that is committing, so that versions follow the order of commits.';

CREATE FUNCTION update_data_version(new_version bigint, change bigint) RETURNS void
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

COMMENT ON FUNCTION update_data_version(bigint, bigint) IS
    'Records a new version (null: none) and by how many the number of trades changes. Holds the commit lock until the '
    'transaction ends.';

CREATE TABLE pending_commits (
    write_id bigint NOT NULL,
    kind text NOT NULL,
    trade_count bigint NOT NULL,
    first_time timestamptz,
    last_time timestamptz,
    CONSTRAINT pending_commits_pkey PRIMARY KEY (write_id, kind)
);

COMMENT ON TABLE pending_commits IS
    'Statements of transactions that have not ended: number_commit() moves them to commits. Empty to all other transactions.';
COMMENT ON COLUMN pending_commits.write_id IS 'As in commits.';
COMMENT ON COLUMN pending_commits.kind IS 'As in commits.';
COMMENT ON COLUMN pending_commits.trade_count IS 'As in commits.';
COMMENT ON COLUMN pending_commits.first_time IS 'As in commits.';
COMMENT ON COLUMN pending_commits.last_time IS 'As in commits.';

CREATE FUNCTION number_commit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this bigint;
    clock bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    committed timestamptz;
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
    END IF;
    INSERT INTO commits (version, kind, write_id, committed_at, trade_count, first_time, last_time, closed_until)
    SELECT this, new.kind, new.write_id, committed, new.trade_count, new.first_time, new.last_time, closed_until
    FROM stream_progress;
    IF NOT EXISTS (SELECT FROM commit_blocks WHERE block = this / 10000 AND write_id <= new.write_id) THEN
        INSERT INTO commit_blocks (block, write_id) VALUES (this / 10000, new.write_id);
    END IF;
    PERFORM update_data_version(this, CASE
        WHEN new.kind = 'store' THEN new.trade_count
        WHEN new.kind IN ('cancel', 'truncate') THEN -new.trade_count
        ELSE 0
    END);
    IF EXISTS (SELECT FROM stream_events WHERE write_id = new.write_id) THEN
        INSERT INTO stream_late_candles (symbol, bucket)
        SELECT DISTINCT symbol, time_bucket(INTERVAL '1 minute', time)
        FROM stream_events
        WHERE write_id = new.write_id AND kind = 'trade' AND stream_is_late(time, committed);
        PERFORM pg_notify('market_data_stream', this::text);
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER number_commit
AFTER INSERT ON pending_commits
DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION number_commit();

COMMENT ON FUNCTION number_commit() IS
    'At the end of a transaction, for each statement: takes the version, writes commits and data_version, and notifies '
    'listeners of market_data_stream.';

CREATE FUNCTION recount_trades() RETURNS bigint
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

COMMENT ON FUNCTION recount_trades() IS
    'Counts the trades and corrects data_version, which chunks dropped by hand leave too high. Returns the correction.';

REVOKE EXECUTE ON FUNCTION update_data_version(bigint, bigint), number_commit(), recount_trades() FROM PUBLIC;
