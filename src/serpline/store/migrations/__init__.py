"""Alembic's scripts. ``versions/0001_initial.py`` is generated from the tables.

Until the first release ``tools/make_migration.py`` regenerates it in place. After that every change
is a new revision.
"""
