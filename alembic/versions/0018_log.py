"""Transparency log of commits and candles: entries, hashes of full tiles, signed checkpoints, keys.

Revision: 0018
Follows: 0017

The log begins at the version that the database has when it is migrated, which its first entry says. Sent as it is, without
parameters, as revision 0012 does.
"""

from pathlib import Path

from alembic import context, op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute("log")


def downgrade() -> None:
    _execute("downgrade")


def _execute(name: str) -> None:
    text = Path(__file__).with_suffix("").joinpath(f"{name}.sql").read_text("utf-8")
    if context.is_offline_mode():
        op.get_context().impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
