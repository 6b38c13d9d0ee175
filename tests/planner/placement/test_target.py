"""What one machine is told: all it needs, and no secret of another."""

from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms import codec
from pltfrms.model.topology import Platform, Role
from pltfrms.render.bird import policy_fingerprint, render_bird
from pltfrms.render.conditions import Conditions
from pltfrms.specfile import load_platform
from tests.planner.targets import make_target
from tests.strategies import make_snapshot

EXAMPLE = Path(__file__).parents[3] / "examples/three-datacenters/platform.yaml"


def _platform() -> Platform:
    """Return the example with another password on every session."""
    platform, count = load_platform(EXAMPLE), 0
    peers = []
    for peer in platform.peers:
        sessions = []
        for session in peer.sessions:
            count += 1
            sessions.append(replace(session, password=f"secret-{count}-of-{session.edge}."))
        peers.append(replace(peer, sessions=tuple(sessions)))
    return replace(platform, peers=tuple(peers))


PLATFORM = _platform()
SNAPSHOT = make_snapshot(PLATFORM)
MACHINES = [machine.name for machine in PLATFORM.machines if not machine.external]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_target_has_the_passwords_of_its_own_sessions_alone(machine: str) -> None:
    text = codec.encode(make_target(SNAPSHOT, machine)).decode()
    for peer in PLATFORM.peers:
        for session in peer.sessions:
            assert (session.password in text) is (session.edge == machine)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_makes_of_its_target_what_it_would_make_of_the_whole_platform(
    machine: str,
) -> None:
    """So what it wants to run has the same fingerprint for whoever compares."""
    seen = make_target(SNAPSHOT, machine).platform
    conditions = Conditions()
    assert render_bird(seen, machine, conditions) == render_bird(PLATFORM, machine, conditions)
    assert policy_fingerprint(seen, machine) == policy_fingerprint(PLATFORM, machine)


def test_there_are_edges_with_and_without_secrets() -> None:
    edges = PLATFORM.machines_of(Role.EDGE)
    assert sum(bool(PLATFORM.sessions_of(edge.name)) for edge in edges) > 1
