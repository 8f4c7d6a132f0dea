"""Runs, lanes, chunks, items, batches and events, and the workers that own chunks."""
