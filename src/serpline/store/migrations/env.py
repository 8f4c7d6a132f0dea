"""Alembic's environment: runs on the given connection, inside the caller's transaction."""

from typing import Any

from alembic import context
from alembic.operations import ops

from serpline.store.tables import metadata, queueing, views
from serpline.store.tables.base import without_statistics
from serpline.store.tables.functions import FUNCTIONS, MADE_AFTER

__all__ = ["queueing"]


def _is_ours(_thing: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
    """Exclude Procrastinate's tables, which its own SQL creates."""
    return not (kind == "table" and name is not None and name.startswith("procrastinate_"))


def _add_what_alembic_does_not_see(_context: Any, _revision: Any, scripts: list[Any]) -> None:
    """Add statistics settings, functions and views after the new tables."""
    for script in scripts:
        steps = script.upgrade_ops.ops
        made = [step.table_name for step in steps if isinstance(step, ops.CreateTableOp)]
        steps += [
            ops.ExecuteSQLOp(ddl)
            for name in made
            for ddl in without_statistics(metadata.tables[name])
        ]
        if MADE_AFTER in made:
            steps += [ops.ExecuteSQLOp(function) for function in FUNCTIONS]
        if views.MADE_AFTER in made:
            steps += [ops.ExecuteSQLOp(statement) for statement in views.DDL]


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_object=_is_ours,
    compare_type=True,
    compare_server_default=True,
    process_revision_directives=_add_what_alembic_does_not_see,
)
with context.begin_transaction():
    context.run_migrations()
