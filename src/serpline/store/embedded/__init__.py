"""The embedded PostgreSQL: its server, files, lock, process and programs."""
