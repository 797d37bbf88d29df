"""Nobody harms what others rely on: what roles may do in the database.

Revision: 0014
Follows: 0013

Jobs give way to sessions that keep locks. Where a superuser migrates, only the owner can create background jobs and large
objects. The audit trail has the login role, and TRUNCATE.

Executes the frozen files of the folder beside this one, as revision 0012 does.
"""

from pathlib import Path

from alembic import context, op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute("boundaries")


def downgrade() -> None:
    _execute("downgrade")


def _execute(name: str) -> None:
    text = Path(__file__).with_suffix("").joinpath(f"{name}.sql").read_text("utf-8")
    if context.is_offline_mode():
        op.get_context().impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
