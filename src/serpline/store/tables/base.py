"""The metadata all tables register with, and the types they share."""

from enum import StrEnum

from sqlalchemy import CheckConstraint, DateTime, MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Instant = DateTime(timezone=True)


def one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    """The check that ``column`` holds one of the words of an enumeration."""
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
