"""``serpline export``: every table of results as a file."""
