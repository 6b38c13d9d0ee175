"""Who is called lost, and who is not. Ceilings are generous; bench/losses.py is sharp."""

import pytest

from bench.losses import be_busy, losses_while, seconds_to_replacement
from bench.rig import Rig
from pltfrms.model.state import Contact

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]

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


def test_busy_processors_make_nobody_lost(healthy: Rig) -> None:
    assert losses_while(healthy, lambda: be_busy(20)) == NOTHING
