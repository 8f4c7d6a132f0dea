"""Schedules: their specifications and instants, stored schedules, and the tick that starts runs."""
