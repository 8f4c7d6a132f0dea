"""One measure per module: ``TITLE`` names it, ``measure(place)`` returns its figures."""
