"""A worker process that dies at a named point: ``pipeline_worker`` with ``chaos.points`` armed.

The point and its passing are named by the variables ``CHAOS_POINT`` and ``CHAOS_PASSING``.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.support import pipeline_worker  # noqa: E402

from chaos.points import arm  # noqa: E402  the checkout's root is not on a script's path

if __name__ == "__main__":
    arm(os.environ["CHAOS_POINT"], int(os.environ["CHAOS_PASSING"]))
    pipeline_worker.serve()
