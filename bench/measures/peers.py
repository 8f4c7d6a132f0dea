"""serpline beside a Procrastinate job per item and a DBOS step per item, on the same server.

All do the same work: a durable item with a stored result. Each peer runs as its documents advise,
in its own process of ``.venv-bench``: jobs deferred in batches and worked concurrently; steps side
by side in one workflow; steps one after another in workflows side by side. The figure is the ratio
to the fastest peer. All alternate, three times.
"""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from harness.figures import Figure, at_least

from bench.place import PEERS_PYTHON, ROOT, Place

TITLE = "durable items beside other engines"
ITEMS, PEER_ITEMS, ROUNDS = 100_000, 2_000, 3


class Peer(NamedTuple):
    """A configuration of another engine."""

    name: str
    script: str
    mode: str


PEERS = (
    Peer("Procrastinate, a job per item", "procrastinate_jobs.py", "10"),
    Peer("Procrastinate, more at once", "procrastinate_jobs.py", "30"),
    Peer("DBOS, steps side by side in a workflow", "dbos_steps.py", "one"),
    Peer("DBOS, steps in workflows side by side", "dbos_steps.py", "many"),
)


async def measure(place: Place) -> Sequence[Figure]:
    """The ratio of the medians."""
    if not PEERS_PYTHON.exists():
        raise RuntimeError(f"{PEERS_PYTHON} is missing: run make bench, which creates it")
    count, few = place.sized(ITEMS), place.sized(PEER_ITEMS)
    ours: list[float] = []
    peers: dict[str, list[float]] = {peer.name: [] for peer in PEERS}
    for _ in range(ROUNDS):
        ours.append(count / (await place.walk_items(count))["seconds"])
        for peer in PEERS:
            peers[peer.name].append(few / await _seconds(place, peer, few))
    rates = {name: statistics.median(found) for name, found in peers.items()}
    fastest = max(rates, key=lambda name: rates[name])
    place.notes += [f"{name}: {rate:,.0f} items/s" for name, rate in rates.items()]
    place.notes.append(f"serpline: {statistics.median(ours):,.0f} items/s")
    ratio = statistics.median(ours) / rates[fastest]
    return [at_least(f"times the speed of the fastest ({fastest})", ratio, 30)]


async def _seconds(place: Place, peer: Peer, count: int) -> float:
    script = ROOT / "bench" / "peers" / peer.script
    with place.fresh_database(migrated=False) as name:
        url = place.server.url(name) if "dbos" in peer.script else place.server.conninfo(name)
        found = await place.run_process(PEERS_PYTHON, script, url, count, peer.mode)
    return found["seconds"]
