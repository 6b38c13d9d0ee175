"""Who is called lost, and who is not. Ceilings are generous; bench/losses.py is sharp.

A leader of the store that hangs is in tests/controller/test_at_scale.py.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.losses import (
    CONTROL_NICE,
    be_busy,
    hang,
    losses_while,
    members,
    seconds_to_replacement,
    slow_disks,
)
from bench.rig import Rig
from pltfrms.model.running.state import Contact

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.root, pytest.mark.timeout(300)]

NOTHING = {"called lost": 0, "replicas moved": 0}


def test_a_node_that_serves_and_is_not_heard_by_controllers_keeps_its_replicas(
    healthy: Rig,
) -> None:
    node = healthy.node_of("fra")
    target = f"daemon/{node}/agent"

    def is_explained() -> bool:
        view = healthy.snapshot().machines[node]
        return view.contact is Contact.UNKNOWN and "have a session with it" in view.why

    def be_silent() -> None:
        healthy.client.fault(target, "kill")
        healthy.wait("the reason is said", is_explained, 20)
        report = healthy.probe("berlin", "--duration", "8s")
        assert set(report["answered_by"]["before"]) == {"fra"}
        assert is_explained()
        assert "have a session with it" in healthy.cli("status")
        healthy.client.heal(target)
        healthy.wait(
            "heard again", lambda: healthy.snapshot().contact(node) is Contact.PRESENT, 20
        )

    assert losses_while(healthy, be_silent) == NOTHING


def test_the_replacement_of_a_dead_node_begins_soon(healthy: Rig) -> None:
    assert seconds_to_replacement(healthy, "kill") <= 8


def test_controllers_that_are_starved_of_processors_call_nobody_lost(healthy: Rig) -> None:
    assert losses_while(healthy, lambda: be_busy(12, CONTROL_NICE)) == NOTHING


def test_a_store_that_hangs_loses_nobody_and_status_says_why_nothing_is_decided(
    healthy: Rig,
) -> None:
    statuses: list[str] = []

    def hang_and_look() -> None:
        with ThreadPoolExecutor() as pool:
            hanging = pool.submit(hang, healthy, members(healthy), 10)
            time.sleep(7)
            statuses.append(healthy.cli("status"))
            hanging.result()
        healthy.wait("decided again", lambda: bool(healthy.snapshot()), 20)

    assert losses_while(healthy, hang_and_look) == NOTHING
    assert "the store does not answer" in statuses[0]
    assert "nothing is decided" in statuses[0]


def test_a_store_with_slow_disks_loses_nobody(healthy: Rig) -> None:
    assert losses_while(healthy, lambda: slow_disks(healthy, members(healthy), 10)) == NOTHING
