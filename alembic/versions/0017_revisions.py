"""Revisions: closed candles that have changed.

Revision: 0017
Follows: 0016

Revisions are found when they are read, in the record of commits; only bulk history leaves rows, in the table `reloads`.
Pins keep versions answerable in spite of retention.

Executes the frozen files of the folder beside this one, as revision 0012 does.
"""

from pathlib import Path

from alembic import context, op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute("revisions")


def downgrade() -> None:
    _execute("downgrade")


def _execute(name: str) -> None:
    text = Path(__file__).with_suffix("").joinpath(f"{name}.sql").read_text("utf-8")
    if context.is_offline_mode():
        op.get_context().impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
