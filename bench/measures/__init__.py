"""One measure per module: ``TITLE`` says what is compared, ``measure(place)`` gives the figures."""
