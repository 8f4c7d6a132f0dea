"""The simulated providers as a process, without rate limits, which would only make a run wait.

It prints the ``SERPLINE_*`` variables as a JSON line, and runs until it is killed.
"""

import json
import sys

from serpline.simulator.config import DOCUMENTED_LIMITS, SimulatorConfig
from serpline.simulator.standalone import serve


def _started(variables: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(variables) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(SimulatorConfig(limits=dict.fromkeys(DOCUMENTED_LIMITS)), started=_started)
