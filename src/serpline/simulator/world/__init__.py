"""The simulated market: companies, rankings by day, pages and videos."""

from datetime import date

from serpline.core.clock import Clock
from serpline.simulator.world.companies import Directory
from serpline.simulator.world.market import Market
from serpline.simulator.world.videos import Videos


class World:
    """One seed's market on the simulated day. Only ``day`` can change."""

    def __init__(self, seed: int, clock: Clock, day: date | None) -> None:
        self.seed = seed
        self.directory = Directory(seed)
        self.market = Market(seed, self.directory)
        self.videos = Videos(seed, self.directory)
        self._clock = clock
        self._day = day

    @property
    def day(self) -> date:
        """The simulated calendar day; by default the clock's (UTC)."""
        return self._day or self._clock.now().date()

    @day.setter
    def day(self, day: date | None) -> None:
        self._day = day
