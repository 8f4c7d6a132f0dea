"""Backup, restore, retention, periodic tasks, and corrections after a change of the clock."""
