"""Destinations of notifications, their deliveries and messages, and what the tail reads."""
