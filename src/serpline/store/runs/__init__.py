"""Runs, lanes, chunks, items, batches, events and the workers that own them."""
