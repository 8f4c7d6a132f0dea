"""Shared by tests, chaos and bench: databases, workers, simulated providers, scripted phases."""
