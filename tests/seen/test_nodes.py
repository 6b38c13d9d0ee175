"""What a page shows of a node: what it promises, has to do, and keeps."""

from dataclasses import replace

from pltfrms.model.messages.picture import NodeFigures, Seen
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.model.services.container import Adopted
from pltfrms.seen.nodes import node_loads
from pltfrms.seen.services import VOLUMES_SHOWN
from tests.seen.test_roles import NONE, ONE, seen
from tests.seen.test_services import GIB, drawn, with_peaks, with_volumes


def load_of(snapshot: Snapshot) -> NodeFigures:
    return node_loads(snapshot)[ONE.node]


def test_every_node_has_one_and_no_other_machine() -> None:
    picture = drawn(seen(NONE, NONE))
    for each in picture.machines:
        assert (each.load is not None) == (Role.NODE in each.roles), each.id


def test_what_is_placed_is_promised_and_what_was_measured_is_used() -> None:
    snapshot = seen(NONE, NONE)
    node = snapshot.platform.machine(ONE.node)
    load = load_of(with_peaks(snapshot))
    assert (load.cpu_milli, load.memory_bytes) == (1000 * node.cpu, node.memory_bytes)
    assert (load.promised_milli, load.promised_bytes) == (200, 64 * 2**20)
    assert (load.heard, load.measured, load.used_milli) == (True, 1, 70), "35 % of 0.2 cores"
    assert load.busiest.startswith(f"{ONE.id}: at most 35 % of its cpu, 900 connections/s")
    unmeasured = load_of(snapshot)
    assert (unmeasured.measured, unmeasured.busiest) == (0, "")


def test_to_who_is_started_by_others_nothing_is_promised() -> None:
    snapshot = seen(NONE, NONE)
    service = snapshot.services["web"]
    run = replace(service.spec.run, process=(), adopted=Adopted())
    others = replace(service, spec=replace(service.spec, run=run))
    load = load_of(replace(snapshot, services={"web": others}))
    assert (load.promised_milli, load.promised_bytes) == (0, 0)


def test_who_is_not_heard_still_promises_and_nothing_is_measured() -> None:
    snapshot = with_peaks(seen(NONE, NONE, contacts=(Contact.UNKNOWN, Contact.PRESENT)))
    load = load_of(snapshot)
    assert (load.heard, load.measured, load.busiest) == (False, 0, "")
    assert load.promised_milli == 200


def test_its_fullest_volumes_come_first_and_the_others_are_a_number() -> None:
    load = load_of(with_volumes(*(range(1, 2 * VOLUMES_SHOWN)), 10 * GIB))
    assert len(load.volumes) == VOLUMES_SHOWN
    assert load.volumes_more == VOLUMES_SHOWN
    assert (load.volumes[0].bytes, load.volumes[0].state) == (10 * GIB, Seen.BAD)
    sizes = [each.bytes or 0 for each in load.volumes[1:]]
    assert sizes == sorted(sizes, reverse=True)
