"""The Python face: a project's results as typed rows and frames, and the actions of people.

``opening``: ``open`` and ``open_async``. ``project``: the asynchronous face. ``blocking``: the
synchronous one, which runs the other in a thread of its own. ``tables``: what both return.
``asked``: the filters as keywords.
"""
