"""Alembic's environment: works on the connection it is given, inside the caller's transaction."""

from typing import Any

from alembic import context

from serpline.store.tables import metadata, queueing

__all__ = ["queueing"]


def _ours(_thing: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
    """Procrastinate's tables are its own SQL, and none of Alembic's business."""
    return not (kind == "table" and name is not None and name.startswith("procrastinate_"))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_object=_ours,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
