"""What a page shows of a service: who has its roles, what it does, how full its disks are."""

from dataclasses import replace

import pytest

from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.messages.picture import Level, Picture, Seen, ServiceElement
from pltfrms.model.running.state import Contact, Peak, Snapshot
from pltfrms.model.running.volumes import Volume, VolumeState, VolumeStatus
from pltfrms.model.services.service import RoleSpec
from pltfrms.model.services.storage import Storage, VolumeSpec
from pltfrms.seen.patch import patch_of
from pltfrms.seen.picture import picture_of
from pltfrms.seen.services import VOLUMES_SHOWN
from tests.cli.world import NOW_MS
from tests.seen.test_roles import HELD, NONE, ONE, TWO, seen

GIB = 2**30
DISK = Storage(volumes=(VolumeSpec(name="data", path="/data", size_bytes=10 * GIB),))


def drawn(snapshot: Snapshot) -> Picture:
    return picture_of(SnapshotView(controller="fra-c1", snapshot=snapshot), NOW_MS)


def web(snapshot: Snapshot) -> ServiceElement:
    (found,) = drawn(snapshot).services
    return found


def test_who_has_a_role_is_said_with_his_node_and_epoch() -> None:
    service = web(seen(NONE, HELD))
    (role,) = service.roles
    assert (role.id, role.state, role.why) == ("writer", Seen.GOOD, "")
    assert (dict(role.holders), role.epoch, role.unheard) == ({TWO.id: TWO.node}, 7, ())
    assert role.prefixes == ("198.51.100.129/32",)


def test_a_role_that_nobody_has_is_bad_and_the_first_that_is_read() -> None:
    picture = drawn(seen(NONE, NONE))
    (service,) = picture.services
    assert (service.state, service.roles[0].state) == (Seen.BAD, Seen.BAD)
    assert service.why == "nobody has its role writer, so its clients are refused"
    assert picture.headline.level is Level.FAILING
    assert picture.headline.sentence == "nobody has the role writer of web"
    assert [each.sentence for each in picture.problems if each.about == "web"] == [service.why]


def test_that_nobody_has_a_role_of_many_is_not_that_the_service_fails() -> None:
    snapshot = seen(NONE, NONE)
    service = snapshot.services["web"]
    roles = tuple(replace(each, shared=True) for each in service.spec.roles)
    shared = replace(service, spec=replace(service.spec, roles=roles))
    picture = drawn(replace(snapshot, services={"web": shared}))
    assert picture.services[0].roles[0].shared
    assert picture.headline.level is Level.DEGRADED


@pytest.mark.parametrize("contact", [Contact.LOST, Contact.UNKNOWN])
def test_who_is_not_heard_may_have_it(contact: Contact) -> None:
    snapshot = seen(NONE, HELD, contacts=(Contact.PRESENT, contact))
    picture = drawn(snapshot)
    (role,) = picture.services[0].roles
    assert (role.state, role.unheard) == (Seen.UNKNOWN, (TWO.id,))
    assert role.last is (Seen.GOOD if contact is Contact.UNKNOWN else None)
    assert TWO.id in role.why
    assert [each.sentence for each in picture.problems if each.about == "web"] == [role.why]
    assert picture.headline.level is not Level.FAILING


def test_who_has_a_role_is_a_patch_of_its_service() -> None:
    before, after = drawn(seen(HELD, NONE)), drawn(seen(NONE, HELD))
    patch = patch_of(before, after)
    assert patch
    assert list(patch.changed) == ["services"]
    assert patch.changed["services"] == after.services


def with_peaks(snapshot: Snapshot) -> Snapshot:
    """Return the same of which both instances were measured."""
    peaks = {
        ONE.node: Peak(cpu_percent=35, connections=900, hours=2),
        TWO.node: Peak(cpu_percent=85, connections=None, hours=3),
    }
    statuses = {
        name: replace(
            each,
            instances=tuple(replace(i, peak=peaks.get(name)) for i in each.instances),
        )
        for name, each in snapshot.statuses.items()
    }
    return replace(snapshot, statuses=statuses)


def test_the_busiest_instance_is_named_with_what_it_did() -> None:
    snapshot = seen(NONE, NONE)
    assert web(with_peaks(snapshot)).busiest == (
        f"{TWO.id} on {TWO.node}: at most 85 % of its cpu, connections not known (in 3 h)"
    )
    assert web(snapshot).busiest == "", "nobody has measured it"
    assert web(snapshot).promised == "0.2 cores and 64 MiB of memory each"


def with_volumes(*used: int | None, node: Contact = Contact.PRESENT) -> Snapshot:
    """Return a service with a volume for each, all on one node, and so full."""
    snapshot = seen(HELD, NONE, contacts=(node, Contact.PRESENT))
    service = snapshot.services["web"]
    kept = replace(service, spec=replace(service.spec, storage=DISK, roles=()))
    names = [f"web.fra.{number}@1" for number in range(1, len(used) + 1)]
    volumes = {
        name: Volume(
            id=name,
            service="web",
            datacenter="fra",
            replica=number,
            generation=1,
            node=ONE.node,
            made=True,
        )
        for number, name in enumerate(names, start=1)
    }
    said = tuple(
        VolumeStatus(volume=name, bytes=each, limited=True)
        for name, each in zip(names, used, strict=True)
    )
    status = replace(snapshot.statuses[ONE.node], volumes=said)
    return replace(
        snapshot,
        services={"web": kept},
        volumes=volumes,
        statuses={**snapshot.statuses, ONE.node: status},
    )


def test_a_full_volume_is_a_problem_and_one_that_is_not_there_is() -> None:
    picture = drawn(with_volumes(GIB, 39 * GIB // 4, None))
    volumes = {each.id: each for each in picture.services[0].volumes}
    assert {name: each.state for name, each in volumes.items()} == {
        "web.fra.1@1": Seen.GOOD,
        "web.fra.2@1": Seen.BAD,
        "web.fra.3@1": Seen.BAD,
    }
    assert volumes["web.fra.1@1"].size_bytes == 10 * GIB
    assert volumes["web.fra.2@1"].why == "98 % full"
    assert volumes["web.fra.3@1"].why == f"it is not on the disk of {ONE.node}"
    said = [each.sentence for each in picture.problems if each.id.startswith("volume/")]
    assert said == [
        f"volume web.fra.2@1 on {ONE.node}: 98 % full",
        f"volume web.fra.3@1 on {ONE.node}: it is not on the disk of {ONE.node}",
    ]


def test_the_volumes_of_who_is_not_heard_are_not_known_and_were_so_full() -> None:
    (volume,) = web(with_volumes(10 * GIB, node=Contact.UNKNOWN)).volumes
    assert (volume.state, volume.last, volume.bytes) == (Seen.UNKNOWN, Seen.GOOD, 10 * GIB)


def test_of_many_volumes_the_fullest_are_shown_and_the_others_counted() -> None:
    many = VOLUMES_SHOWN + 3
    service = web(with_volumes(*(number * 2**20 for number in range(many))))
    assert [each.bytes for each in service.volumes] == [
        number * 2**20 for number in range(many - 1, 2, -1)
    ]
    assert service.volumes_more == 3


def test_what_was_given_up_says_why_and_is_no_problem() -> None:
    snapshot = with_volumes(GIB)
    (volume,) = snapshot.volumes.values()
    gone = replace(volume, state=VolumeState.GIVEN_UP, why="it was lost for too long")
    (shown,) = web(replace(snapshot, volumes={gone.id: gone})).volumes
    assert (shown.state, shown.why) == (Seen.GOOD, "given-up: it was lost for too long")


def test_roles_that_the_spec_has_no_more_are_not_shown() -> None:
    snapshot = seen(HELD, NONE)
    service = snapshot.services["web"]
    none = replace(service, spec=replace(service.spec, roles=tuple[RoleSpec, ...]()))
    assert web(replace(snapshot, services={"web": none})).roles == ()
