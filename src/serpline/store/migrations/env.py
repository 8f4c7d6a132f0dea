"""Alembic's environment: works on the connection it is given, inside the caller's transaction."""

from typing import Any

from alembic import context
from alembic.operations import ops

from serpline.store.tables import metadata, queueing
from serpline.store.tables.base import without_statistics
from serpline.store.tables.functions import FUNCTIONS, MADE_AFTER

__all__ = ["queueing"]


def _ours(_thing: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
    """Procrastinate's tables are its own SQL, and none of Alembic's business."""
    return not (kind == "table" and name is not None and name.startswith("procrastinate_"))


def _with_the_unseen(_context: Any, _revision: Any, scripts: list[Any]) -> None:
    """Alembic sees neither which columns are counted nor functions: both are written behind the
    new tables."""
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


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_object=_ours,
    compare_type=True,
    compare_server_default=True,
    process_revision_directives=_with_the_unseen,
)
with context.begin_transaction():
    context.run_migrations()
