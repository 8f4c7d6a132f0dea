"""The environment of tests and of the processes that they start."""

import os
import re

_IS_SETTING = re.compile(r"SERPLINE_|PG[A-Z]|COLUMNS$|(https?|all|no)_proxy$", re.IGNORECASE)


def clean_environment() -> dict[str, str]:
    """The environment without settings of serpline, libpq, a proxy or a terminal's width."""
    return {name: value for name, value in os.environ.items() if not _IS_SETTING.match(name)}
