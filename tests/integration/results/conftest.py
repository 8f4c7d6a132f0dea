"""A collected run that files about files and Python share."""

from collections.abc import Iterator

import pytest
from harness.collected_run import Filled, filled_database

from serpline.store.embedded.server import EmbeddedServer

EARLIER = 10


@pytest.fixture(scope="session")
def filled(postgres: EmbeddedServer, template_database: str) -> Iterator[Filled]:
    """A run of all keywords after one of ``EARLIER``. Do not write to it: clone it."""
    with filled_database(postgres, template_database, [EARLIER]) as made:
        yield made
