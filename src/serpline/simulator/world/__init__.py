"""The simulated market: who is in it, who ranks where on which day, what their pages say."""

from datetime import date

from serpline.core.clock import Clock
from serpline.simulator.world.companies import Directory
from serpline.simulator.world.market import Market
from serpline.simulator.world.videos import Videos


class World:
    """One seed's market on the simulated day. ``day`` may be moved; everything else is fixed."""

    def __init__(self, seed: int, clock: Clock, day: date | None) -> None:
        self.seed = seed
        self.directory = Directory(seed)
        self.market = Market(seed, self.directory)
        self.videos = Videos(seed, self.directory)
        self._clock = clock
        self._day = day

    @property
    def day(self) -> date:
        """The simulated calendar day; the clock's (UTC) unless one was set."""
        return self._day or self._clock.now().date()

    @day.setter
    def day(self, day: date | None) -> None:
        self._day = day
