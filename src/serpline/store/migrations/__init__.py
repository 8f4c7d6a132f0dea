"""Alembic's scripts. ``versions/0001_initial.py`` is generated from the tables.

Until the first release it is regenerated in place by ``tools/make_migration.py``; from then on
every change is a new revision.
"""
