"""Stored schedules, their slots, and what the tick reads and writes."""
