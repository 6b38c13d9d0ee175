"""No two places have the address of one replica, whatever nodes that are cut off still say."""

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pltfrms.model.messages.api import Change
from pltfrms.model.network.topology import Guards, NodePrefixes
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import Snapshot
from pltfrms.model.running.volumes import VolumeState
from pltfrms.model.services.hooks import HookMoment, InstanceHook
from pltfrms.model.services.members import member_of
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.instances.routes import member_claims, member_routes
from pltfrms.planner.routing.permits import permits_of
from tests.planner.placement.test_volumes import kept_spec, node_of, running, walk
from tests.planner.targets import make_target
from tests.planner.world import settle
from tests.strategies import make_platform


def told(target: Target) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield what a node says of members if all that it is told runs: service, prefix, claim."""
    attached = {each.id for each in target.allocations}
    routes = {str(each.prefix): each.metric for each in member_routes(target, attached, {})}
    for prefix, (name, claim) in member_claims(target):
        if routes[prefix] == claim:
            yield (name.partition(".")[0], prefix), claim


@settings(max_examples=50)
@example(34, 28)  # a volume is given up by hand, and its node has the lower number
@given(st.integers(0, 2**32), st.integers(0, 40))
def test_edges_lead_to_one_node_and_never_back_to_an_older_one(seed: int, length: int) -> None:
    """Each node goes on saying what it was told once, since no controller reaches it any more.

    The highest claim wins on every edge, so it has to be that of who holds the volume now.
    """
    ever: dict[tuple[str, str], dict[str, int]] = {}
    """Claims by node of all that was ever told, by service and prefix."""

    def see(snapshot: Snapshot) -> None:
        now: dict[tuple[str, str], str] = {}
        held = {each.id for each in snapshot.volumes.values() if each.state is VolumeState.HELD}
        for node in {each.node for each in snapshot.allocations.values()}:
            if node not in {each.name for each in snapshot.platform.machines}:
                continue
            target = make_target(snapshot, node)
            for key, claim in told(target):
                before = ever.setdefault(key, {})
                before[node] = max(claim, before.get(node, 0))
            mine = tuple(each for each in target.allocations if each.volume in held)
            for key, _ in told(replace(target, allocations=mine)):
                assert now.setdefault(key, node) == node, "two have it at once"
        for key, node in now.items():
            claims = ever[key]
            assert max(claims, key=claims.__getitem__) == node
            assert list(claims.values()).count(claims[node]) == 1

    walk(seed, length, see)


def test_who_has_a_replica_hears_where_all_others_are() -> None:
    snapshot = running(kept_spec())
    held = [each for each in snapshot.volumes.values() if each.state is VolumeState.HELD]
    for node in ("fra-n1", "fra-n2", "fra-n3", "fra-n4"):
        target = make_target(snapshot, node)
        expected = held if target.allocations else []
        assert [each.id for each in target.peers] == sorted(each.id for each in expected)
    (db,) = make_target(snapshot, "fra-n1").balanced
    assert db.members is not None
    assert (db.members.counts, db.members.numbers4) == ((("fra", 3),), (1, 2, 3))


def test_who_is_wanted_no_more_is_led_to_and_hears_of_better_hooks_until_it_left() -> None:
    snapshot = running(kept_spec())
    platform = replace(
        make_platform({"fra": 4}), guards=Guards(node_prefixes=NodePrefixes.PLACED)
    )
    hook = InstanceHook(moment=HookMoment.LEAVE, command=("leave",))
    fewer = apply_change(
        replace(snapshot, platform=platform), Change(services=(kept_spec(2),))
    ).snapshot
    left = settle(fewer)
    node = node_of(snapshot, "db.fra.3")
    better = apply_change(left, Change(services=(replace(kept_spec(2), hooks=(hook,)),)))
    target = make_target(better.snapshot, node)
    assert target.allocations == ()
    assert [each.spec.hooks for each in target.services] == [(hook,)]
    assert target.made_of != make_target(left, node).made_of
    permits = permits_of(make_target(better.snapshot, "fra-e1"))
    (its,) = (each for each in permits or () if each.node == node)
    service = better.snapshot.services["db"]
    member = member_of(platform, service.id, service.numbers4, ("fra", 3))
    assert set(member.prefixes) <= set(its.prefixes)
