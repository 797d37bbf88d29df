-- Frozen: part of revision 0019, never edited.
-- Progress of the audit, and the differences that it has found.

CREATE TABLE audit_days (
    day timestamptz NOT NULL,
    verified_at timestamptz NOT NULL,
    candles bigint NOT NULL,
    differences bigint NOT NULL,
    CONSTRAINT audit_days_pkey PRIMARY KEY (day)
);

COMMENT ON TABLE audit_days IS 'UTC days whose candles the audit has compared with the trades.';
COMMENT ON COLUMN audit_days.day IS 'Midnight at its start. A Monday stands for its week, too.';
COMMENT ON COLUMN audit_days.verified_at IS 'End of the comparison.';
COMMENT ON COLUMN audit_days.candles IS 'Candles that were compared, of all symbols and intervals.';
COMMENT ON COLUMN audit_days.differences IS 'Candles that differed.';

CREATE TABLE audit_versions (
    block bigint NOT NULL,
    verified_at timestamptz NOT NULL,
    commits bigint NOT NULL,
    differences bigint NOT NULL,
    CONSTRAINT audit_versions_pkey PRIMARY KEY (block)
);

COMMENT ON TABLE audit_versions IS 'Commits that the audit has compared with the transparency log.';
COMMENT ON COLUMN audit_versions.block IS 'Version divided by 10,000, as in commit_blocks.';
COMMENT ON COLUMN audit_versions.verified_at IS 'End of the comparison.';
COMMENT ON COLUMN audit_versions.commits IS 'Commits that were compared, those that are in the log.';
COMMENT ON COLUMN audit_versions.differences IS 'Commits whose trades or changes are not those of the log.';

CREATE TABLE audit_differences (
    id bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    symbol text,
    "interval" text,
    bucket timestamptz,
    version bigint,
    stored jsonb,
    expected jsonb,
    found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    repaired_at timestamptz,
    CONSTRAINT audit_differences_pkey PRIMARY KEY (id),
    CONSTRAINT audit_differences_kind_known CHECK (kind IN ('candle', 'latest_price', 'trades'))
);

COMMENT ON TABLE audit_differences IS 'Differences that the audit has found, kept on record.';
COMMENT ON SEQUENCE audit_differences_id_seq IS 'Ids of audit_differences.';
COMMENT ON COLUMN audit_differences.id IS 'Id, in the order in which they were found.';
COMMENT ON COLUMN audit_differences.kind IS
    'candle: it differs from the trades; latest_price: latest_trades does; trades: a commit differs from the log.';
COMMENT ON COLUMN audit_differences.symbol IS 'Symbol of the candle or latest price; null for trades.';
COMMENT ON COLUMN audit_differences."interval" IS 'Interval of the candle, else null.';
COMMENT ON COLUMN audit_differences.bucket IS 'Start of the bucket of the candle, else null.';
COMMENT ON COLUMN audit_differences.version IS 'Version of the commit whose trades differ, else null.';
COMMENT ON COLUMN audit_differences.stored IS 'As it was found; of trades, their entry, and some of them.';
COMMENT ON COLUMN audit_differences.expected IS 'As the trades say; of trades, the entry of the log.';
COMMENT ON COLUMN audit_differences.found_at IS 'Time at which it was found first.';
COMMENT ON COLUMN audit_differences.seen_at IS 'Time at which it was found last.';
COMMENT ON COLUMN audit_differences.repaired_at IS
    'Time at which the audit found it right again, after a repair from the trades; null while it differs.';

CREATE UNIQUE INDEX audit_differences_open
ON audit_differences (kind, symbol, "interval", bucket, version) NULLS NOT DISTINCT
WHERE repaired_at IS NULL;

GRANT SELECT ON audit_days TO analyst;
GRANT SELECT ON audit_versions TO analyst;
GRANT SELECT ON audit_differences TO analyst;
