"""Every provider as a local HTTP server: faithful to the wire, hostile when asked, with a log.

The simulator imports ``core`` and ``domain`` only, so it can judge the rest from outside.
"""

from serpline.simulator.config import BatchTiming, RateLimit, SimulatorConfig
from serpline.simulator.faults import VOCABULARY
from serpline.simulator.plan_file import read_plan
from serpline.simulator.server import Simulator
from serpline.simulator.standalone import serve

__all__ = [
    "VOCABULARY",
    "BatchTiming",
    "RateLimit",
    "Simulator",
    "SimulatorConfig",
    "read_plan",
    "serve",
]
