"""The simulator's own API below ``/_sim``: read logs and state, set faults and the day.

GET log (``provider``, ``operation``, ``after`` = seq), counts, ledger, webhooks, batches, faults,
state; POST faults (a plan; replaces the current one), POST day (``{"day": "2026-11-23"}`` or
null). It needs no key: it listens on loopback only.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import Any

from serpline.domain.errors import UserError
from serpline.simulator.faults import FaultPlan
from serpline.simulator.journal import CallLog, Ledger
from serpline.simulator.scaleserp.api import ScaleSerp
from serpline.simulator.wire import BadBody, Reply, Request, json_reply
from serpline.simulator.world import World


class Control:
    """Answers the calls below ``/_sim``."""

    def __init__(
        self,
        world: World,
        log: CallLog,
        ledger: Ledger,
        faults: FaultPlan,
        scaleserp: ScaleSerp,
        environment: Callable[[], dict[str, str]],
    ) -> None:
        self._world = world
        self._log = log
        self._ledger = ledger
        self._faults = faults
        self._scaleserp = scaleserp
        self._environment = environment

    async def handle(self, request: Request) -> Reply:
        """Answer a call. 404: unknown; 400: a bad plan or day, with the reason."""
        what = "/".join(request.segments)
        try:
            if request.method == "POST" and what == "faults":
                self._faults.set(request.json())
                return json_reply(200, {"rules": len(self._faults.rules)})
            if request.method == "POST" and what == "day":
                given = request.fields().get("day")
                self._world.day = None if given is None else date.fromisoformat(str(given))
                return json_reply(200, {"day": self._world.day.isoformat()})
        except (UserError, BadBody, ValueError) as error:
            return json_reply(400, {"error": str(error)})
        shown = self._read(what, request) if request.method == "GET" else None
        return json_reply(404, {"error": what}) if shown is None else json_reply(200, shown)

    def _read(self, what: str, request: Request) -> Any:
        if what == "log":
            return self._entries(request)
        if what == "counts":
            return self._log.counts()
        if what == "ledger":
            return {
                "totals": self._ledger.totals(),
                "charges": [asdict(charge) for charge in self._ledger],
            }
        if what == "webhooks":
            return [asdict(each) for each in self._scaleserp.webhooks.deliveries]
        if what == "batches":
            return [batch.shown() for batch in self._scaleserp.account.batches.values()]
        if what == "faults":
            return [asdict(rule) for rule in self._faults.rules]
        if what == "environment":
            return self._environment()
        if what == "state":
            return {
                "seed": self._world.seed,
                "day": self._world.day.isoformat(),
                "calls": len(self._log),
                "dropped": self._log.dropped,
                "batches_created": self._scaleserp.account.created,
            }
        return None

    def _entries(self, request: Request) -> list[dict[str, Any]]:
        query = request.query
        after = int(query["after"]) if query.get("after", "").isdecimal() else 0
        return [
            asdict(entry)
            for entry in self._log.entries[after:]
            if query.get("provider") in (None, entry.provider)
            and query.get("operation") in (None, entry.operation)
        ]
