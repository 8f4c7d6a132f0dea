"""All providers as local HTTP servers: true to the wire, with faults on request and a call log.

The simulator imports only ``core`` and ``domain``, so its log is independent evidence.
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
