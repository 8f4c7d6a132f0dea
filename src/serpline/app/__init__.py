"""Composition: settings → services → processes. Only this room and ``cli`` import every part.

``services``: what every command needs. ``server``: the embedded PostgreSQL. ``tools``: the clients
of the providers. ``housekeeping``: the periodic tasks. ``worker``: a whole worker process.
"""
