"""Reads of the past: trades, candles and latest trades as of a version.

Revision: 0016
Follows: 0015

Commits record up to which `write_id` and up to which time there were trades, so that trades stored later are told apart
without a scan; the row of retention records since which version trades are missing.

Executes the frozen files of the folder beside this one, as revision 0012 does.
"""

from pathlib import Path

from alembic import context, op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute("as_of")


def downgrade() -> None:
    _execute("downgrade")


def _execute(name: str) -> None:
    text = Path(__file__).with_suffix("").joinpath(f"{name}.sql").read_text("utf-8")
    if context.is_offline_mode():
        op.get_context().impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
