"""Keys: who may read, write and administer.

Revision: 0008
Follows: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The name of a key may not look like a prefix, for `market-data keys revoke` takes either. What is revoked once its
    # successor has been made gives up its name at once, though it may hold for a while: then `revoked_at` lies ahead.
    op.execute("""
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
        )
    """)
    op.execute("CREATE UNIQUE INDEX api_keys_name_key ON api_keys (name) WHERE revoked_at IS NULL")
    # A key has 256 random bits. Nobody can try them all, so a hash that is slow on purpose would protect nothing more, and
    # would cost every request.
    for what, text in (
        ("TABLE api_keys", "The keys of the HTTP interface, by their hashes."),
        ("COLUMN api_keys.id", "The key, for whatever refers to it."),
        ("SEQUENCE api_keys_id_seq", "The ids of keys."),
        ("COLUMN api_keys.name", "Whose key it is: letters, digits and . _ -. One key of a name is not revoked."),
        ("COLUMN api_keys.prefix", "The eight digits that the key shows after md_, to recognise it by."),
        ("COLUMN api_keys.hash", "SHA-256 of the whole key, which is stored nowhere."),
        ("COLUMN api_keys.scopes", "What it may do: read, write (and read), admin (everything)."),
        ("COLUMN api_keys.created_at", "When it was made."),
        ("COLUMN api_keys.expires_at", "From when on it is not valid any more; null for never."),
        (
            "COLUMN api_keys.revoked_at",
            "From when on it was revoked or replaced, perhaps in a while; null while it was not.",
        ),
        ("COLUMN api_keys.last_used_at", "When it was used last, give or take a minute."),
    ):
        op.execute(f"COMMENT ON {what} IS '{text}'")
    # Whom 0005 lets read every table.
    op.execute("REVOKE ALL ON api_keys FROM analyst")


def downgrade() -> None:
    op.execute("DROP TABLE api_keys")
