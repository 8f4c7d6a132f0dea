"""Schedule specifications, their occurrences, and the service that starts due runs.

Not implemented yet: slots stored in the database and the tick that claims them. Until then jitter,
overlap, catch-up and deadline are parsed, validated and shown, but have no effect on runs.
"""
