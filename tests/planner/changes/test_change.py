"""Accepting what an operator wants."""

from dataclasses import replace
from ipaddress import IPv4Network, ip_network
from typing import Any

import pytest

from pltfrms.errors import NotFoundError, UsageError
from pltfrms.model.messages.api import Change, ChangeLine
from pltfrms.model.network.numbering import Numbering
from pltfrms.model.network.topology import Aggregate, Operator, Role
from pltfrms.model.services.service import RolloutSpec, Stage
from pltfrms.planner.changes.change import apply_change, delete_service
from tests.render.roles import THREE, server
from tests.strategies import (
    make_allocation,
    make_node,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
    renamed_datacenter,
)

EMPTY = make_snapshot(make_platform({"fra": 3, "ams": 3}))


def test_a_new_service_gets_the_lowest_free_id_and_its_prefixes() -> None:
    one = apply_change(EMPTY, Change(services=(make_spec("a"), make_spec("b")))).snapshot
    without = delete_service(one, "a").snapshot
    outcome = apply_change(without, Change(services=(make_spec("c"),)))
    (service,) = outcome.services
    assert (service.id, service.version) == (1, 1)
    assert [str(prefix) for prefix in service.prefixes] == [
        "198.51.100.1/32",
        "2001:db8:100::1/128",
    ]
    assert outcome.lines == (
        ChangeLine(
            about="service/c",
            action="create",
            detail=(
                "id 1, 198.51.100.1/32, 2001:db8:100::1/128; asks nobody in the internet "
                "(no unicast prefix)"
            ),
        ),
    )
    assert outcome.snapshot.services["b"].id == 2


def test_the_same_change_twice_is_no_change() -> None:
    change = Change(services=(make_spec(),), platform=EMPTY.platform)
    once = apply_change(EMPTY, change)
    again = apply_change(once.snapshot, change)
    assert (again.lines, again.services, again.platform) == ((), (), None)
    assert again.snapshot == once.snapshot


def test_a_version_knows_when_it_was_accepted_and_scaling_is_none() -> None:
    now = replace(EMPTY, now_ms=5000)
    first = apply_change(now, Change(services=(make_spec(),))).snapshot
    later = replace(first, now_ms=9000)
    scaled = apply_change(later, Change(services=(make_spec(replicas=3),)))
    changed = apply_change(later, Change(services=(make_spec(cpu=0.5),)))
    assert first.services["web"].changed_ms == 5000
    assert scaled.services[0].changed_ms == 5000
    assert changed.services[0].changed_ms == 9000


def test_only_run_and_probe_make_a_new_version() -> None:
    snapshot = apply_change(EMPTY, Change(services=(make_spec(),))).snapshot
    scaled = apply_change(snapshot, Change(services=(make_spec(replicas=3),)))
    assert scaled.services[0].version == 1
    assert scaled.lines[0].detail == "per_datacenter"
    changed = apply_change(scaled.snapshot, Change(services=(make_spec(cpu=0.5),)))
    assert changed.services[0].version == 2
    assert changed.lines[0].detail == "run, per_datacenter; version 1 -> 2, rolls out"


def test_what_runs_of_a_deleted_namesake_is_older_than_the_new_service() -> None:
    left = make_allocation("web.fra.1-1", "fra-n1", version=4)
    snapshot = make_snapshot(EMPTY.platform, (), (left,))
    outcome = apply_change(snapshot, Change(services=(make_spec(),)))
    assert outcome.services[0].version == 5


def test_a_full_aggregate_is_refused() -> None:
    aggregates = (
        Aggregate(prefix=IPv4Network("198.51.100.0/30")),
        EMPTY.platform.aggregates[1],
    )
    small = replace(EMPTY, platform=replace(EMPTY.platform, aggregates=aggregates))
    change = Change(services=(make_spec("a"), make_spec("b")))
    full = apply_change(small, change).snapshot
    third = Change(services=(make_spec("c"),))
    with pytest.raises(
        UsageError, match=r"no address left for service id 3.* add an"
    ) as caught:
        apply_change(full, third)
    assert "delete" not in str(caught.value), "that would end what serves"
    regional = Aggregate(prefix=IPv4Network("203.0.113.0/24"), datacenters=("fra",))
    wider = replace(full.platform, aggregates=(*aggregates, regional))
    with pytest.raises(UsageError, match=r"room, `aggregate: 203\.0\.113\.0/24`"):
        apply_change(replace(full, platform=wider), third)


def test_a_service_that_needs_an_ipv4_address_of_its_own_is_refused_where_there_is_none() -> (
    None
):
    spec = make_spec()
    run = replace(spec.run, environment=(("LISTEN", "${pltfrms.address4}"),))
    change = Change(services=(replace(spec, run=run),))
    assert apply_change(EMPTY, change).services
    platform = replace(EMPTY.platform, infrastructure4=None)
    with pytest.raises(UsageError, match=r"service web: .*address4.*the infrastructure has no"):
        apply_change(replace(EMPTY, platform=platform), change)


def test_nodes_come_and_go() -> None:
    machines = tuple(m for m in EMPTY.platform.machines if m.name != "fra-n3")
    platform = replace(EMPTY.platform, machines=(*machines, make_node("fra-n4", 4)))
    outcome = apply_change(EMPTY, Change(platform=platform))
    assert outcome.platform == platform
    assert outcome.lines[0].detail == "machines +fra-n4 -fra-n3"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"asn": 64501}, "asn cannot change from 64500 to 64501"),
        ({"name": "other"}, "name cannot change"),
        ({"infrastructure4": IPv4Network("11.0.0.0/8")}, "infrastructure4 cannot change"),
        (
            {"infrastructure4": None},
            "cannot change from 10.0.0.0/8 to no-ipv4: .* new platform",
        ),
        (
            {"numbering4": Numbering(nodes=400, instances=254)},
            "numbering cannot change from nodes: 250, instances: 254 to nodes: 400",
        ),
        ({"aggregates": (Aggregate(prefix=ip_network("203.0.113.0/24")),)}, "has it for life"),
    ],
)
def test_what_stays_for_life_is_refused(changes: dict[str, object], words: str) -> None:
    snapshot = make_snapshot(EMPTY.platform, (make_service(make_spec()),))
    platform = replace(EMPTY.platform, **changes)  # type: ignore[arg-type] # by parameter
    with pytest.raises(UsageError, match=words):
        apply_change(snapshot, Change(platform=platform))


def test_every_word_that_differs_is_named_and_operators_by_name() -> None:
    ada, bob, eve = (Operator(name=name, keys=(name,)) for name in ("ada", "bob", "eve"))
    before = replace(EMPTY.platform, operators=(ada, bob))
    after = replace(before, director=False, operators=(replace(ada, keys=("new",)), eve))
    snapshot = make_snapshot(before)
    (line,) = apply_change(snapshot, Change(platform=after)).lines
    words = "operators, director +operator eve -operator bob other keys of ada"
    assert line.detail == words


def test_controllers_and_ids_stay() -> None:
    machines = EMPTY.platform.machines
    without = tuple(m for m in machines if m.role is not Role.CONTROLLER)
    with pytest.raises(UsageError, match="none would stay, and they have the store"):
        apply_change(EMPTY, Change(platform=replace(EMPTY.platform, machines=without)))
    renumbered = (replace(machines[0], id=9), *machines[1:])
    with pytest.raises(UsageError, match="machine fra-n1 cannot change from node 1 of fra"):
        apply_change(EMPTY, Change(platform=replace(EMPTY.platform, machines=renumbered)))


def test_a_name_of_a_machine_is_changed_by_removing_and_adding_it_and_the_plan_says_so() -> (
    None
):
    platform = EMPTY.platform
    renamed = replace(platform.machines[0], name="west1")
    after = replace(platform, machines=(renamed, *platform.machines[1:]))
    (line,) = apply_change(EMPTY, Change(platform=after)).lines
    assert "(fra-n1 is to be called west1: removed, and added)" in line.detail
    other = replace(after, machines=(replace(renamed, id=9), *platform.machines[1:]))
    (line,) = apply_change(EMPTY, Change(platform=other)).lines
    assert "called" not in line.detail


def test_a_datacenter_gets_another_name_and_its_machines_stay_what_they_are() -> None:
    platform = EMPTY.platform
    first = platform.datacenters[0].name
    after = renamed_datacenter(platform, first, "xyz")
    outcome = apply_change(EMPTY, Change(platform=after))
    assert outcome.platform == after
    (line,) = outcome.lines
    assert f"({first} is to be called xyz: its replicas begin anew)" in line.detail
    machine, *others = after.machines
    other = replace(after, machines=(replace(machine, id=9), *others))
    with pytest.raises(
        UsageError, match=f"{machine.name} cannot change from node 1 of {first}"
    ):
        apply_change(EMPTY, Change(platform=other))


@pytest.mark.parametrize(
    "words",
    [
        {"per_datacenter": 0, "counts": (("fra", 2),)},
        {"datacenters": ("ams", "fra")},
        {"rollout": RolloutSpec(stages=(Stage(datacenters=("fra",)),))},
    ],
)
def test_a_datacenter_is_not_renamed_under_a_service_that_says_its_old_name(
    words: dict[str, Any],
) -> None:
    """It would not run there any more, and could not be applied again."""
    spec = replace(make_spec(), **words)
    snapshot = apply_change(EMPTY, Change(services=(spec,))).snapshot
    after = renamed_datacenter(EMPTY.platform, "fra", "xyz")
    with pytest.raises(UsageError, match="fra is to be called xyz, and service web says fra"):
        apply_change(snapshot, Change(platform=after))
    both = apply_change(snapshot, Change(platform=after, services=(make_spec(),)))
    assert both.platform == after
    assert [each.name for each in both.services] == ["web"]


def test_deleting_what_is_not_there_names_what_is() -> None:
    snapshot = make_snapshot(EMPTY.platform, (make_service(make_spec()),))
    with pytest.raises(NotFoundError, match="there are: web"):
        delete_service(snapshot, "wbe")


def test_a_machine_may_become_a_controller_beside_what_it_is_and_end_being_one() -> None:
    less = (server("fra1", 1, Role.EDGE, Role.NODE), *THREE.machines[1:])
    fewer = replace(THREE, machines=less)
    for before, after in ((THREE, fewer), (fewer, THREE)):
        outcome = apply_change(make_snapshot(before), Change(platform=after))
        assert outcome.platform == after
        taken_out = "(fra1 had the key of the store, and so has who kept a copy: lock both out "
        assert (taken_out in outcome.lines[0].detail) == (after is fewer)


@pytest.mark.parametrize("roles", [(Role.EDGE, Role.CONTROLLER), (Role.EDGE,), (Role.NODE,)])
def test_the_roles_of_a_machine_stay_while_it_is_there(roles: tuple[Role, ...]) -> None:
    before = THREE.machines[0]
    machines = (server(before.name, 1, *roles), *THREE.machines[1:])
    with pytest.raises(UsageError) as caught:
        apply_change(make_snapshot(THREE), Change(platform=replace(THREE, machines=machines)))
    assert "fra1 cannot change from edge 1 and node 1 of fra" in str(caught.value)
    assert "remove it and add it under another name" in str(caught.value)
