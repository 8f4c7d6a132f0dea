"""When runs are due, and starting them: specifications, their occurrences, the scheduling service.

Not there yet: slots stored in the database, the tick that claims them, and with it the effect of
jitter, overlap, catch-up and deadline; these four are read, checked and shown, but nothing waits,
skips or catches up by them.
"""
