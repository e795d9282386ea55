"""A sandbox that serves from a thread of the test, and a client of it."""

from collections.abc import Iterator

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import Client
from tests.sandbox.merchant import Merchant
from tests.sandbox.shop import Shop
from tests.world import NOW


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Give a sandbox whose clock says NOW, as the tests' does."""
    with Sandbox() as made:
        made.set_clock(NOW)
        yield made


@pytest.fixture
def stripe(sandbox: Sandbox) -> Iterator[Client]:
    with Client(sandbox.url) as made:
        yield made


@pytest.fixture
def shop(sandbox: Sandbox) -> Iterator[Shop]:
    with Shop(sandbox.url) as made:
        yield made


@pytest.fixture
def paystack(sandbox: Sandbox) -> Iterator[Merchant]:
    with Merchant(sandbox.url) as made:
        yield made
