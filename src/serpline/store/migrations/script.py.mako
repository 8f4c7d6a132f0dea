"""Revision ${up_revision}: ${message}.

Written by ``tools/make_migration.py``.
"""
# ruff: noqa: E501  generated: the text of a constraint is one literal

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward; releases never go back, a backup does."""
    ${upgrades if upgrades else "pass"}
