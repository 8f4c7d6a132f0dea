"""Notify people: a tail of ``pipeline_events`` writes deliveries, and Apprise sends messages."""
