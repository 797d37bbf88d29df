-- Frozen: part of revision 0018, never edited.

DROP TABLE log_cosignatures, log_checkpoints, log_keys, log_parts, log_nodes, log_entries;
DROP FUNCTION log_appended();
DROP FUNCTION log_trade_leaf(text, timestamptz, bigint, numeric, numeric);
DROP FUNCTION log_change_leaf(trade_changes);
DROP FUNCTION log_leaf_hash(text);
DROP INDEX trade_changes_of_write_before;
