"""The same marketplace for every job's tests."""

import pytest

from tests.market import Market
from tests.world import World


@pytest.fixture
def market(world: World) -> Market:
    return Market(world)
