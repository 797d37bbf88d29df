-- Frozen: part of revision 0012, never edited. The present text of functions and views is in alembic/sql/.
-- API keys.

-- The name of a key may not look like a prefix, because `market-data keys revoke` accepts either. A key that is replaced gives
-- up its name at once, though it may stay valid for a while: then `revoked_at` lies in the future.
CREATE TABLE api_keys (
    id bigint GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    prefix text NOT NULL,
    hash bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_prefix_key UNIQUE (prefix),
    CONSTRAINT api_keys_name_form CHECK (name ~ '^[A-Za-z0-9._-]{1,64}$' AND name !~ '^[0-9a-f]{8}$'),
    CONSTRAINT api_keys_prefix_form CHECK (prefix ~ '^[0-9a-f]{8}$'),
    CONSTRAINT api_keys_hash_length CHECK (length(hash) = 32),
    CONSTRAINT api_keys_scopes_known CHECK (scopes <@ '{read,write,admin}' AND scopes <> '{}')
);
CREATE UNIQUE INDEX api_keys_name_key ON api_keys (name) WHERE revoked_at IS NULL;

-- A key has 256 random bits, which can't be guessed: a deliberately slow hash would add no protection, and would cost every
-- request.
COMMENT ON TABLE api_keys IS 'API keys of the HTTP interface, by their hashes.';
COMMENT ON COLUMN api_keys.id IS 'Id of the key.';
COMMENT ON SEQUENCE api_keys_id_seq IS 'Ids of api_keys.';
COMMENT ON COLUMN api_keys.name IS 'Name of the client: letters, digits and . _ -. At most one key of a name is not revoked.';
COMMENT ON COLUMN api_keys.prefix IS 'The eight digits after md_ in the key, which identify it.';
COMMENT ON COLUMN api_keys.hash IS 'SHA-256 of the whole key, which is stored nowhere.';
COMMENT ON COLUMN api_keys.scopes IS 'Permissions: read, write (and read), admin (everything).';
COMMENT ON COLUMN api_keys.created_at IS 'Time at which the key was created.';
COMMENT ON COLUMN api_keys.expires_at IS 'Time from which the key is no longer valid; null for never.';
COMMENT ON COLUMN api_keys.revoked_at IS
    'Time from which the key is revoked or replaced, possibly in the future; null if it is neither.';
COMMENT ON COLUMN api_keys.last_used_at IS 'Time of the last use, to the minute.';
