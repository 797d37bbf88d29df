-- Frozen: part of revision 0018, never edited. The present text of functions is in alembic/sql/.
-- Transparency log: one entry for each commit, and one a minute for the candles that have changed. Written by the service.

CREATE TABLE log_entries (
    index bigint NOT NULL,
    kind text NOT NULL,
    version bigint NOT NULL,
    entry bytea NOT NULL,
    CONSTRAINT log_entries_pkey PRIMARY KEY (index),
    CONSTRAINT log_entries_of_version UNIQUE (version, kind),
    CONSTRAINT log_entries_kind_known CHECK (kind IN ('begin', 'commit', 'candles')),
    CONSTRAINT log_entries_entry_short CHECK (length(entry) < 65536)
);

COMMENT ON TABLE log_entries IS
    'Entries of the transparency log, in the order of commits, never changed: the leaves of its Merkle tree (RFC 6962) are '
    'sha256(''\x00'' || entry). They stay when retention drops trades.';
COMMENT ON COLUMN log_entries.index IS 'From 0, without gaps.';
COMMENT ON COLUMN log_entries.kind IS
    'begin: the log begins after this version; commit: a row of commits; candles: candles that have changed up to a version.';
COMMENT ON COLUMN log_entries.version IS 'Version that the entry is about; of candles, as of which they are.';
COMMENT ON COLUMN log_entries.entry IS 'The entry: lines of text, whose form is documented in src/market_data/proof/README.md.';

CREATE TABLE log_nodes (
    level smallint NOT NULL,
    index bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT log_nodes_pkey PRIMARY KEY (level, index),
    CONSTRAINT log_nodes_level_positive CHECK (level > 0),
    CONSTRAINT log_nodes_hash_length CHECK (length(hash) = 32)
);

COMMENT ON TABLE log_nodes IS
    'Merkle tree hash of each full tile of the log: of 256 entries at level 1, of 256 nodes of the level below at the others.';
COMMENT ON COLUMN log_nodes.level IS 'Level of the tile that the hash is in; level 0, the hashes of entries, is not stored.';
COMMENT ON COLUMN log_nodes.index IS 'Index within the level: the hash of entries [index * 256^level, (index + 1) * 256^level).';
COMMENT ON COLUMN log_nodes.hash IS 'Merkle tree hash, SHA-256.';

CREATE TABLE log_parts (
    entry bigint NOT NULL,
    part bigint NOT NULL,
    hash bytea NOT NULL,
    symbol text,
    time timestamptz,
    trade_id bigint,
    leaves text,
    CONSTRAINT log_parts_pkey PRIMARY KEY (entry, part),
    CONSTRAINT log_parts_entry_fkey FOREIGN KEY (entry) REFERENCES log_entries (index),
    CONSTRAINT log_parts_hash_length CHECK (length(hash) = 32)
);

COMMENT ON TABLE log_parts IS
    'Parts of 1,024 leaves of the tree within an entry: of entries of commits with more leaves, and of all entries of candles.';
COMMENT ON COLUMN log_parts.entry IS 'Index of the entry.';
COMMENT ON COLUMN log_parts.part IS 'From 0 within the entry.';
COMMENT ON COLUMN log_parts.hash IS 'Merkle tree hash of the leaves of the part, SHA-256.';
COMMENT ON COLUMN log_parts.symbol IS 'Of a commit: symbol of the first trade of the part; null if it begins with a change.';
COMMENT ON COLUMN log_parts.time IS 'Of a commit: time of the first trade.';
COMMENT ON COLUMN log_parts.trade_id IS 'Of a commit: trade_id of the first trade.';
COMMENT ON COLUMN log_parts.leaves IS
    'Of candles: their leaves, a line of JSON each. They are the receipts of candles as they stood then, so they are kept.';

CREATE TABLE log_keys (
    id bigint GENERATED ALWAYS AS IDENTITY,
    origin text NOT NULL,
    public_key bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    retires_at timestamptz,
    CONSTRAINT log_keys_pkey PRIMARY KEY (id),
    CONSTRAINT log_keys_public_key_length CHECK (length(public_key) = 32)
);

COMMENT ON TABLE log_keys IS
    'Public keys of the log (Ed25519). Private keys are in files of the services (LOG_KEY_FILE), never in the database: a '
    'person who can change its tables can''t sign what they changed.';
COMMENT ON COLUMN log_keys.id IS 'Id, in the order of creation. The newest key is in use.';
COMMENT ON SEQUENCE log_keys_id_seq IS 'Ids of log_keys.';
COMMENT ON COLUMN log_keys.origin IS 'Name of the log in its checkpoints, and of the key. A restored database gets a new one.';
COMMENT ON COLUMN log_keys.public_key IS 'Public key, 32 bytes (RFC 8032).';
COMMENT ON COLUMN log_keys.created_at IS 'Time at which the key was created.';
COMMENT ON COLUMN log_keys.retires_at IS 'Time until which a key that has been replaced signs as well; null for the newest one.';

CREATE TABLE log_checkpoints (
    size bigint NOT NULL,
    root bytea NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    note text NOT NULL,
    CONSTRAINT log_checkpoints_pkey PRIMARY KEY (size),
    CONSTRAINT log_checkpoints_root_length CHECK (length(root) = 32)
);

COMMENT ON TABLE log_checkpoints IS
    'Signed checkpoints of the last day, and the newest one. The root of any size can be computed from the entries.';
COMMENT ON COLUMN log_checkpoints.size IS 'Number of entries.';
COMMENT ON COLUMN log_checkpoints.root IS 'Root of the Merkle tree of that size.';
COMMENT ON COLUMN log_checkpoints.signed_at IS 'Time of the signature.';
COMMENT ON COLUMN log_checkpoints.note IS 'Signed note (c2sp.org/tlog-checkpoint), without cosignatures.';

CREATE TABLE log_cosignatures (
    witness text NOT NULL,
    size bigint NOT NULL,
    line text NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT log_cosignatures_pkey PRIMARY KEY (witness)
);

COMMENT ON TABLE log_cosignatures IS 'Newest cosignature of each witness (c2sp.org/tlog-witness).';
COMMENT ON COLUMN log_cosignatures.witness IS 'Address of the witness, as in WITNESS_URLS.';
COMMENT ON COLUMN log_cosignatures.size IS 'Size of the checkpoint that it signed.';
COMMENT ON COLUMN log_cosignatures.line IS 'Its signature lines.';
COMMENT ON COLUMN log_cosignatures.signed_at IS 'Time at which it was received.';

-- Trades as a commit stored them, which a later change replaced.
CREATE INDEX trade_changes_of_write_before ON trade_changes (write_id_before);

CREATE FUNCTION log_appended() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('the log is append-only: no %s of %s', TG_OP, TG_TABLE_NAME);
    END IF;
    IF new.index <> (SELECT coalesce(max(index) + 1, 0) FROM log_entries) THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('the next entry of the log is not entry %s', new.index);
    END IF;
    RETURN new;
END
$$;

COMMENT ON FUNCTION log_appended() IS 'Before changes of tables of the log: rejects all but the next entry.';

CREATE TRIGGER log_entries_appended BEFORE INSERT OR UPDATE OR DELETE ON log_entries
FOR EACH ROW EXECUTE FUNCTION log_appended();
CREATE TRIGGER log_entries_kept BEFORE TRUNCATE ON log_entries
FOR EACH STATEMENT EXECUTE FUNCTION log_appended();
CREATE TRIGGER log_nodes_appended BEFORE UPDATE OR DELETE OR TRUNCATE ON log_nodes
FOR EACH STATEMENT EXECUTE FUNCTION log_appended();
CREATE TRIGGER log_parts_appended BEFORE UPDATE OR DELETE OR TRUNCATE ON log_parts
FOR EACH STATEMENT EXECUTE FUNCTION log_appended();

CREATE FUNCTION log_trade_leaf(symbol text, "time" timestamptz, trade_id bigint, price numeric, volume numeric)
RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    -- Symbols contain no characters that JSON escapes.
    SELECT '["trade", "' || symbol || '", ' || (extract(epoch FROM "time") * 1000000)::bigint || ', ' || trade_id || ', "'
        || trim_scale(price) || '", "' || trim_scale(volume) || '"]'
$$;

COMMENT ON FUNCTION log_trade_leaf(text, timestamptz, bigint, numeric, numeric) IS
    'Leaf of a trade in the entry of the commit that stored it: JSON of symbol, microseconds since 1970, trade_id, price, volume.';

CREATE FUNCTION log_change_leaf(change trade_changes) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT json_build_array(
        change.action, change.symbol, (extract(epoch FROM change.time) * 1000000)::bigint, change.trade_id,
        trim_scale(change.price_before)::text, trim_scale(change.volume_before)::text,
        trim_scale(change.price_after)::text, trim_scale(change.volume_after)::text,
        (extract(epoch FROM change.moved_to) * 1000000)::bigint, change.actor, change.reason
    )::text
$$;

COMMENT ON FUNCTION log_change_leaf(trade_changes) IS
    'Leaf of a correction or cancellation in the entry of its commit: JSON of the columns of trade_changes.';

CREATE FUNCTION log_leaf_hash(leaf text) RETURNS bytea
LANGUAGE sql IMMUTABLE
AS $$
    SELECT sha256('\x00'::bytea || convert_to(leaf, 'UTF8'))
$$;

COMMENT ON FUNCTION log_leaf_hash(text) IS 'Hash of a leaf (RFC 6962).';

REVOKE EXECUTE ON FUNCTION log_appended() FROM PUBLIC;

-- Commits from before the log are not in it.
INSERT INTO log_entries (index, kind, version, entry)
SELECT 0, 'begin', version, convert_to(format(E'market-data/begin@v1\nversion %s\n', version), 'UTF8')
FROM newest_version() AS version;
