"""A marketplace whose payments go to a sandbox of its own."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from jobctl.providers import transport
from jobctl.sandbox import Sandbox
from tests.payments import Market
from tests.world import World


@pytest.fixture
def market(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    # Repeats within a request are the transport's own tests.
    monkeypatch.setattr(transport, "PATIENCE", timedelta(0))
    with Sandbox() as sandbox:
        yield Market(world, sandbox)
