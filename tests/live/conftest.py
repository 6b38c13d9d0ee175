"""One lab of the example for all live tests."""

import os
from collections.abc import Iterator

import pytest

from bench.rig import Rig, running_rig


@pytest.fixture(scope="session")
def lab() -> Iterator[Rig]:
    if os.geteuid():
        pytest.skip("needs root")
    with running_rig(f"live-{os.getpid()}") as rig:
        yield rig


@pytest.fixture
def healthy(lab: Rig) -> Iterator[Rig]:
    """The lab, with all well before the test and all faults undone after it."""
    lab.restore()
    yield lab
    lab.client.heal(None)
