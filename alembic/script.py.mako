"""${message}

Revision: ${up_revision}
Follows: ${down_revision | comma,n}
Made: ${create_date}

Raw SQL, one statement an `op.execute`; aggregates `WITH NO DATA`; every index and policy argument named; a comment on
every new table, view and column; a downgrade that works. The whole upgrade is one transaction that waits at most
5 seconds for a lock, so that a migration never queues up the readers of a busy table.
"""

from alembic import op

revision = "${up_revision}"
down_revision = ${'"%s"' % down_revision if down_revision else None}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
