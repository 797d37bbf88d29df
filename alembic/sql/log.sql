-- Present text of the functions of the transparency log.

CREATE OR REPLACE FUNCTION log_appended() RETURNS trigger
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

CREATE OR REPLACE FUNCTION log_part_appended() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND old.entry >= 0 THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('the log is append-only: no %s of %s', TG_OP, TG_TABLE_NAME);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN old;
    END IF;
    IF new.entry >= 0 AND NOT EXISTS (SELECT FROM log_entries WHERE index = new.entry) THEN
        RAISE foreign_key_violation USING
            MESSAGE = format('entry %s of the log, which the part belongs to, does not exist', new.entry);
    END IF;
    RETURN new;
END
$$;

CREATE OR REPLACE FUNCTION log_trade_leaf(symbol text, "time" timestamptz, trade_id bigint, price numeric, volume numeric)
RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    -- Symbols contain no characters that JSON escapes.
    SELECT '["trade", "' || symbol || '", ' || (extract(epoch FROM "time") * 1000000)::bigint || ', ' || trade_id || ', "'
        || trim_scale(price) || '", "' || trim_scale(volume) || '"]'
$$;

CREATE OR REPLACE FUNCTION log_change_leaf(change trade_changes) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT json_build_array(
        change.action, change.symbol, (extract(epoch FROM change.time) * 1000000)::bigint, change.trade_id,
        trim_scale(change.price_before)::text, trim_scale(change.volume_before)::text,
        trim_scale(change.price_after)::text, trim_scale(change.volume_after)::text,
        (extract(epoch FROM change.moved_to) * 1000000)::bigint, change.actor, change.reason
    )::text
$$;

CREATE OR REPLACE FUNCTION log_leaf_hash(leaf text) RETURNS bytea
LANGUAGE sql IMMUTABLE
AS $$
    SELECT sha256('\x00'::bytea || convert_to(leaf, 'UTF8'))
$$;
