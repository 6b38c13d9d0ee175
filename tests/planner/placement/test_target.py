"""What one machine is told: all it needs, and no secret of another."""

from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms import codec
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.state import Snapshot
from pltfrms.render.bird import policy_fingerprint, render_bird
from pltfrms.render.conditions import Conditions
from pltfrms.specfile import load_platform
from tests.planner.targets import make_target
from tests.render.roles import THREE
from tests.strategies import make_allocation, make_service, make_snapshot, make_spec

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


def test_a_server_is_told_of_all_services_and_how_those_run_that_run_on_it() -> None:
    services = {
        name: make_service(make_spec(name), number)
        for number, name in enumerate(("here", "there"), 1)
    }
    here = make_allocation("here.fra.1-1", "fra1")
    there = make_allocation("there.ams.1-1", "ams1")
    snapshot = make_snapshot(THREE, tuple(services.values()), (here, there))
    target = make_target(snapshot, "fra1")
    told = {service.name: service.spec for service in target.services}
    assert told["here"] == services["here"].spec
    assert told["there"].run.process == ()
    assert told["there"].drain_ms == services["there"].spec.drain_ms
    assert target.allocations == (here,)
    assert [each.name for each in target.balanced] == ["here", "there"]


def test_a_server_fetches_what_changes_of_an_edge_and_what_changes_of_a_node() -> None:
    web, far = (make_service(make_spec(name), n) for n, name in ((1, "web"), (2, "far")))
    here = make_allocation("web.fra.1-1", "fra1")
    snapshot = make_snapshot(THREE, (web, far), (here,))

    def made_of(changed: Snapshot) -> str:
        return make_target(changed, "fra1").made_of

    before = made_of(snapshot)
    other_run = replace(web, version=2, spec=replace(web.spec, weight=2))
    assert made_of(replace(snapshot, services={"web": other_run, "far": far})) != before
    assert made_of(replace(snapshot, services={"web": web})) != before
    assert made_of(replace(snapshot, allocations={})) != before
    far_run = replace(far, version=2, spec=replace(far.spec, weight=2))
    assert made_of(replace(snapshot, services={"web": web, "far": far_run})) == before
