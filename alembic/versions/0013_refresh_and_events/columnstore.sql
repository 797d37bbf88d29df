-- Frozen: part of revision 0013, never edited.
-- Chunks of trades that TimescaleDB 2.23 has recompressed.

-- When it recompresses late trades, it writes batches that overlap others, but reads the batches one after the other: pages of
-- trades lack some. It sorts the batches of a chunk that is marked as unordered, and the policy compresses the chunk anew. The
-- embedded engine does no such recompression any more.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_extension
        WHERE extname = 'timescaledb' AND extversion LIKE '2.23.%' AND current_setting('is_superuser')::boolean
    ) THEN
        UPDATE _timescaledb_catalog.chunk
        SET status = status | 2
        WHERE compressed_chunk_id IS NOT NULL AND hypertable_id = (
            SELECT id FROM _timescaledb_catalog.hypertable WHERE schema_name = 'public' AND table_name = 'trades'
        );
    END IF;
END
$$;
