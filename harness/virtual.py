"""Virtual time: hours of waiting in an instant, for code that reads only its loop's clock."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    """A selector that advances the time instead of waiting."""

    passed_seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        if not (ready := super().select(0)):
            self.passed_seconds += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.passed_seconds


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main``; ``loop.time()`` begins at 0 and jumps from one deadline to the next."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)
