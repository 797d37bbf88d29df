"""Candles of all intervals in the columnstore, in chunks that suit their number.

Revision: 0027
Follows: 0026

Changes settings only: chunks that exist stay as long as they are, and those in the columnstore stay as they are.

Executes the frozen files of the folder beside this one, as revision 0012 does.
"""

from pathlib import Path

from alembic import context, op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute("columnstore")


def downgrade() -> None:
    _execute("downgrade")


def _execute(name: str) -> None:
    text = Path(__file__).with_suffix("").joinpath(f"{name}.sql").read_text("utf-8")
    if context.is_offline_mode():
        op.get_context().impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
