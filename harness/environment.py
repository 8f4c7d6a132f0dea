"""What processes that a test starts are told."""

import os


def clean() -> dict[str, str]:
    """The environment without any setting of this machine's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SERPLINE_")}
