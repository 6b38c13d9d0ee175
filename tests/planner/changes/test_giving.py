"""Which addresses a service gets, keeps and moves between."""

from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.errors import UsageError
from pltfrms.model.addresses import Prefix
from pltfrms.model.messages.api import Change
from pltfrms.model.network.homes import home_of, unfit
from pltfrms.model.network.numbering import Numbering
from pltfrms.model.network.peering import Peer, PeerKind, Session
from pltfrms.model.network.topology import Aggregate, Guards
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import Probe, ProbeKind, RoleSpec, Service, ServiceSpec
from pltfrms.model.services.storage import Storage, VolumeSpec
from pltfrms.planner.changes.change import apply_change, delete_service
from tests.strategies import make_allocation, make_platform, make_snapshot, make_spec

PLATFORM = make_platform({"fra": 3, "ams": 3})


def having(*prefixes: str) -> Snapshot:
    aggregates = tuple(Aggregate(prefix=ip_network(prefix)) for prefix in prefixes)
    return make_snapshot(replace(PLATFORM, aggregates=aggregates))


def wanting(
    *addresses: str, aggregates: tuple[str, ...] = (), name: str = "web"
) -> ServiceSpec:
    said = tuple(map(ip_address, addresses))
    return replace(make_spec(name), addresses=said, aggregates=aggregates)


def accepted(snapshot: Snapshot, *specs: ServiceSpec) -> Snapshot:
    return apply_change(snapshot, Change(services=specs)).snapshot


def answers_on(snapshot: Snapshot, name: str = "web") -> list[str]:
    return [str(prefix.network_address) for prefix in snapshot.services[name].prefixes]


BOTH = having("198.51.100.0/24", "203.0.113.0/24", "2001:db8:100::/48")


# ---- members --------------------------------------------------------------------------------

DATA = Storage(volumes=(VolumeSpec(name="data", path="/srv/data", size_bytes=2**30),))


def keeping(name: str, replicas: int) -> ServiceSpec:
    return replace(make_spec(name, replicas), storage=DATA)


def test_replicas_with_volumes_have_numbers_for_ipv4_as_long_as_there_is_the_service() -> None:
    some = accepted(BOTH, keeping("db", 2), keeping("kv", 1), make_spec("web"))
    assert [some.services[name].numbers4 for name in ("db", "kv", "web")] == [(1, 2), (3,), ()]
    more = accepted(some, keeping("db", 3))
    assert more.services["db"].numbers4 == (1, 2, 4)
    assert accepted(more, keeping("db", 1)).services["db"].numbers4 == (1, 2, 4)
    gone = delete_service(more, "db").snapshot
    assert accepted(gone, keeping("mq", 1)).services["mq"].numbers4 == (1,)


def test_without_a_number_left_there_is_none_and_who_needs_it_is_refused() -> None:
    few = Numbering(nodes=13, instances=2)
    tight = replace(BOTH, platform=replace(BOTH.platform, numbering4=few))
    some = accepted(tight, keeping("db", 3))
    assert some.services["db"].numbers4 == (1, 2)
    spec = keeping("kv", 1)
    named = replace(spec, run=replace(spec.run, process=("kv", "${pltfrms.replica.address4}")))
    with pytest.raises(
        UsageError, match=r"service kv: \$\{pltfrms.replica.address4\} has no value"
    ):
        accepted(some, named)
    assert accepted(some, spec).services["kv"].numbers4 == ()


# ---- roles ----------------------------------------------------------------------------------


def with_role(*names: str, name: str = "web") -> ServiceSpec:
    asked = Probe(kind=ProbeKind.TCP, port=1)
    roles = tuple(RoleSpec(name=each, probe=asked) for each in sorted(names))
    return replace(wanting(name=name), roles=roles)


def role_on(snapshot: Snapshot, role: str, name: str = "web") -> list[str]:
    found = {each.name: each for each in snapshot.services[name].roles}[role]
    return [str(prefix.network_address) for prefix in found.prefixes]


def test_a_role_has_its_addresses_for_the_life_of_its_service() -> None:
    first = accepted(BOTH, with_role("writer"), wanting(name="other"))
    writer = role_on(first, "writer")
    assert writer == ["198.51.100.129", "2001:db8:100::81"]
    both = accepted(first, with_role("reader", "writer"))
    assert role_on(both, "writer") == writer
    assert not set(role_on(both, "reader")) & {*writer, *answers_on(both)}
    without = accepted(both, with_role("reader"))
    assert without.services["web"].role_prefixes == both.services["web"].roles[0].prefixes
    assert role_on(without, "writer") == writer
    assert role_on(accepted(without, with_role("writer")), "writer") == writer


def test_another_role_is_another_version_and_its_addresses_are_said() -> None:
    first = accepted(BOTH, wanting())
    outcome = apply_change(first, Change(services=(with_role("writer"),)))
    assert outcome.snapshot.services["web"].version == 2
    assert "role writer: 198.51.100.129/32, 2001:db8:100::81/128" in outcome.lines[0].detail


def test_nobody_gets_the_address_of_a_role() -> None:
    snapshot = accepted(BOTH, with_role("writer"))
    with pytest.raises(UsageError, match=r"198\.51\.100\.129 is an address of service web"):
        accepted(snapshot, wanting("198.51.100.129", name="other"))
    assert "198.51.100.129" in delete_service(snapshot, "web").lines[0].detail
    small = replace(snapshot.platform, aggregates=snapshot.platform.aggregates[1:])
    with pytest.raises(UsageError, match="cannot go"):
        apply_change(snapshot, Change(platform=small))


def test_a_full_aggregate_has_no_role() -> None:
    full = having("198.51.100.0/30")
    full = accepted(full, wanting(name="a"))
    with pytest.raises(UsageError, match="has no address left for its role writer"):
        accepted(full, with_role("writer"))


# ---- what a new service gets ---------------------------------------------------------------


def test_one_family_is_enough_and_a_service_has_one_address_then() -> None:
    four, six = having("198.51.100.0/24"), having("2001:db8:100::/48")
    assert answers_on(accepted(four, wanting())) == ["198.51.100.1"]
    assert answers_on(accepted(six, wanting())) == ["2001:db8:100::1"]


def test_a_service_names_its_aggregate_and_the_other_family_is_as_ever() -> None:
    named = replace(BOTH.platform.aggregates[1], name="second")
    aggregates = (BOTH.platform.aggregates[0], named, BOTH.platform.aggregates[2])
    snapshot = replace(BOTH, platform=replace(BOTH.platform, aggregates=aggregates))
    for word in ("second", "203.0.113.0/24"):
        wish = wanting(aggregates=(word,))
        assert answers_on(accepted(snapshot, wish)) == ["203.0.113.1", "2001:db8:100::1"]


def test_a_service_has_exactly_the_addresses_that_it_says() -> None:
    snapshot = accepted(BOTH, wanting("203.0.113.53"), wanting(name="other"))
    assert answers_on(snapshot) == ["203.0.113.53"]
    assert answers_on(snapshot, "other") == ["198.51.100.2", "2001:db8:100::2"]


def test_an_address_that_somebody_chose_is_not_given_to_another() -> None:
    snapshot = accepted(BOTH, wanting("198.51.100.2"), wanting(name="b"), wanting(name="c"))
    assert answers_on(snapshot, "b") == ["198.51.100.1", "2001:db8:100::2"]
    assert answers_on(snapshot, "c") == ["198.51.100.3", "2001:db8:100::3"]


def peered(snapshot: Snapshot, *sessions: Session) -> Snapshot:
    peer = Peer(name="transit1", kind=PeerKind.TRANSIT, asn=64601, sessions=sessions)
    return replace(snapshot, platform=replace(snapshot.platform, peers=(peer,)))


NUMBERED = Session(
    edge="fra-e1",
    ours=(ip_interface("198.51.100.1/29"), ip_interface("2001:db8:100::1/126")),
    theirs=(ip_address("198.51.100.2"), ip_address("2001:db8:100::2")),
    interface="x-transit1",
    multihop=2,
    via=(ip_address("198.51.100.3"),),
)


def test_no_service_gets_an_address_of_a_session() -> None:
    snapshot = accepted(peered(BOTH, NUMBERED), *(wanting(name=f"s{n}") for n in range(1, 6)))
    given = [address for n in range(1, 6) for address in answers_on(snapshot, f"s{n}")]
    last = [f"198.51.100.{n}" for n in (4, 5, 6, 8, 9)]
    assert sorted(each for each in given if "." in each) == last, (
        ".7 is everybody's on the port"
    )
    assert not {"2001:db8:100::1", "2001:db8:100::2"} & set(given)


@pytest.mark.parametrize("address", ["198.51.100.1", "198.51.100.2", "198.51.100.3"])
def test_no_service_may_say_an_address_of_a_session(address: str) -> None:
    with pytest.raises(UsageError, match=r"in use.* the session of fra-e1 with transit1"):
        accepted(peered(BOTH, NUMBERED), wanting(address))


def test_no_session_may_take_the_address_that_a_service_has() -> None:
    before = accepted(BOTH, wanting("198.51.100.2"))
    change = Change(platform=peered(BOTH, NUMBERED).platform)
    with pytest.raises(UsageError, match=r"198\.51\.100\.2 cannot be an address in use"):
        apply_change(before, change)
    # What is so already does not forbid other changes.
    assert change.platform is not None
    there = replace(before, platform=change.platform)
    asn = replace(change.platform, guards=Guards(shrink_percent=50))
    assert apply_change(there, Change(platform=asn)).platform == asn


def test_after_a_full_aggregate_comes_the_next_but_a_regional_one_only_when_named() -> None:
    regional = Aggregate(prefix=ip_network("192.0.2.0/24"), datacenters=("fra",))
    small = having("198.51.100.0/30", "203.0.113.0/24")
    aggregates = (regional, *small.platform.aggregates)
    snapshot = replace(small, platform=replace(small.platform, aggregates=aggregates))
    snapshot = accepted(snapshot, *(wanting(name=name) for name in ("a", "b", "c")))
    assert answers_on(snapshot, "b") == ["198.51.100.2"]
    assert answers_on(snapshot, "c") == ["203.0.113.3"]
    local = accepted(snapshot, wanting(aggregates=("192.0.2.0/24",)))
    assert answers_on(local) == ["192.0.2.4"]
    only = replace(small, platform=replace(small.platform, aggregates=(regional,)))
    with pytest.raises(UsageError, match="say which it is to be"):
        accepted(only, wanting())


def test_a_covering_prefix_gives_no_address_of_its_parts() -> None:
    snapshot = having("203.0.112.0/23", "203.0.112.0/24")
    assert answers_on(accepted(snapshot, wanting())) == ["203.0.113.0"]
    part = wanting(aggregates=("203.0.112.0/24",))
    assert answers_on(accepted(snapshot, part)) == ["203.0.112.1"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("198.51.100.0", "network address"),
        ("198.51.100.255", "broadcast address"),
        ("2001:db8:100::", "subnet-router anycast address"),
        ("192.0.2.1", "in no aggregate"),
        ("198.51.100.1", "is an address of service taken"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused(address: str, words: str) -> None:
    snapshot = accepted(BOTH, wanting(name="taken"))
    with pytest.raises(UsageError, match=words):
        accepted(snapshot, wanting(address))


# ---- moving --------------------------------------------------------------------------------


def test_without_a_word_a_service_keeps_its_addresses_for_life() -> None:
    snapshot = accepted(BOTH, wanting("203.0.113.53", "198.51.100.7"))
    again = accepted(snapshot, wanting())
    assert answers_on(again) == ["203.0.113.53", "198.51.100.7"]
    assert again.services["web"].version == 1


def test_a_move_adds_the_new_address_first_and_gives_up_the_old_one_later() -> None:
    before = accepted(BOTH, wanting("198.51.100.7"))
    both = apply_change(before, Change(services=(wanting("203.0.113.53", "198.51.100.7"),)))
    service = both.snapshot.services["web"]
    assert answers_on(both.snapshot) == ["203.0.113.53", "198.51.100.7"]
    assert both.lines[0].detail == (
        "addresses; also answers on 203.0.113.53/32; version 1 -> 2, rolls out"
    )
    assert service.prefixes_at(1) == (ip_network("198.51.100.7/32"),)
    assert service.prefixes_at(2) == service.prefixes
    after = apply_change(both.snapshot, Change(services=(wanting("203.0.113.53"),)))
    assert answers_on(after.snapshot) == ["203.0.113.53"]
    assert after.lines[0].detail == (
        "addresses; gives up 198.51.100.7/32; version 2 -> 3, rolls out"
    )


def test_a_move_in_one_step_is_refused_with_the_way_that_works() -> None:
    before = accepted(BOTH, wanting("198.51.100.7"))
    with pytest.raises(UsageError, match=r"addresses: \[203.0.113.53, 198.51.100.7\]"):
        accepted(before, wanting("203.0.113.53"))
    with pytest.raises(UsageError, match=r"such as 203\.0\.113\.1"):
        accepted(before, wanting(aggregates=("203.0.113.0/24",)))
    same = accepted(before, wanting(aggregates=("198.51.100.0/24",)))
    assert answers_on(same) == ["198.51.100.7"]


def running(snapshot: Snapshot, *versions: int) -> Snapshot:
    """Return it with one instance of `web` of each of these versions."""
    every = [
        make_allocation(f"web.fra.{n}-1", "fra-n1", slot=n, version=version)
        for n, version in enumerate(versions, start=1)
    ]
    return replace(snapshot, allocations={each.id: each for each in every})


def test_no_address_changes_while_an_instance_lacks_one() -> None:
    first = accepted(BOTH, wanting("198.51.100.7"))
    second = running(accepted(first, wanting("198.51.100.7", "198.51.100.8")), 2, 1)
    words = r"web\.fra\.2-1 cannot answer on 198\.51\.100\.8 .* version 2 or later"
    for wish in (["198.51.100.8"], ["198.51.100.7", "198.51.100.8", "198.51.100.9"]):
        with pytest.raises(UsageError, match=words):
            accepted(second, wanting(*wish))
    rolled = running(second, 2, 2)
    third = accepted(rolled, wanting("198.51.100.7", "198.51.100.8", "198.51.100.9"))
    assert third.services["web"].fresh == (ip_network("198.51.100.9/32"),)


def test_what_was_added_may_be_taken_back_while_instances_still_lack_it() -> None:
    first = accepted(BOTH, wanting("198.51.100.7"))
    second = running(accepted(first, wanting("198.51.100.7", "198.51.100.8")), 2, 1)
    third = accepted(second, wanting("198.51.100.7"))
    assert answers_on(third) == ["198.51.100.7"]
    assert third.services["web"].prefixes_at(1) == third.services["web"].prefixes


def test_an_address_that_instances_have_keeps_its_way_when_another_is_given_up() -> None:
    first = accepted(BOTH, wanting("198.51.100.7"))
    second = running(accepted(first, wanting("198.51.100.7", "198.51.100.8")), 2, 2)
    third = accepted(second, wanting("198.51.100.8")).services["web"]
    assert third.prefixes_at(2) == (ip_network("198.51.100.8/32"),)
    assert third.version == 3


def test_what_runs_of_a_deleted_namesake_is_no_way_to_the_new_service() -> None:
    first = running(accepted(BOTH, wanting("198.51.100.7")), 1)
    gone = delete_service(first, "web").snapshot
    again = accepted(gone, wanting("198.51.100.8")).services["web"]
    assert again.prefixes_at(1) == ()
    assert again.prefixes_at(again.version) == again.prefixes


def test_an_aggregate_may_go_when_no_service_has_an_address_of_it_any_more() -> None:
    platform = replace(BOTH.platform, aggregates=BOTH.platform.aggregates[1:])
    held = accepted(BOTH, wanting("198.51.100.7", "203.0.113.53"))
    with pytest.raises(UsageError, match="move the service to another address first"):
        apply_change(held, Change(platform=platform))
    moved = accepted(held, wanting("203.0.113.53"))
    assert apply_change(moved, Change(platform=platform)).platform == platform


# ---- whatever happens ----------------------------------------------------------------------

_ADDRESSES = [f"198.51.100.{n}" for n in range(8)] + [f"2001:db8:100::{n}" for n in range(3)]
_STEPS = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from(["delete", "plain", "addresses", "203.0.113.0/24", "198.51.100.0/24"]),
        st.lists(st.sampled_from(_ADDRESSES), max_size=3, unique=True),
    ),
    max_size=25,
)


@given(_STEPS)
def test_no_address_is_ever_of_two_services_and_each_is_fit_and_none_is_exchanged_at_once(
    steps: list[tuple[str, str, list[str]]],
) -> None:
    snapshot = having("198.51.100.0/29", "203.0.113.0/24", "2001:db8:100::/48")
    for name, what, addresses in steps:
        before = snapshot.services.get(name)
        try:
            snapshot = _stepped(snapshot, name, what, addresses)
        except UsageError:
            continue
        _check(snapshot)
        after = snapshot.services.get(name)
        if before and after:
            old, new = set(before.prefixes), set(after.prefixes)
            assert old <= new or new <= old
            assert after.version > before.version or before.prefixes == after.prefixes


def _stepped(snapshot: Snapshot, name: str, what: str, addresses: list[str]) -> Snapshot:
    if what == "delete":
        there = name in snapshot.services
        return delete_service(snapshot, name).snapshot if there else snapshot
    said = addresses if what == "addresses" else []
    aggregates = (what,) if "/" in what else ()
    return accepted(snapshot, wanting(*said, aggregates=aggregates, name=name))


_ONE, _OTHER = "198.51.100.1", "198.51.100.2"
_WISHES = [[_ONE], [_ONE, _OTHER], [_OTHER, _ONE], [_OTHER]]
_MOVES = st.lists(st.sampled_from(["delete", 1, 1, 2, *_WISHES]), max_size=20)


@given(_MOVES)
def test_an_instance_is_a_way_to_addresses_it_has_and_stays_one_while_they_are_wanted(
    steps: list[str | int | list[str]],
) -> None:
    snapshot, ways = having("198.51.100.0/29"), set[tuple[str, Prefix]]()
    has = set[tuple[str, Prefix]]()
    for step in steps:
        if isinstance(step, int):
            snapshot = _replaced(snapshot, step)
            name, before = f"web.fra.{step}-1", snapshot.services.get("web")
            ways = {each for each in ways if each[0] != name}
            has = {each for each in has if each[0] != name}
            has |= {(name, each) for each in before.prefixes} if before else set()
        elif step == "delete":
            snapshot, has, ways = _stepped(snapshot, "web", step, []), set(), set()
        else:
            with suppress(UsageError):
                snapshot = _stepped(snapshot, "web", "addresses", [*step])
        wanted = snapshot.services["web"].prefixes if "web" in snapshot.services else ()
        now = _ways(snapshot)
        assert now <= has
        assert {each for each in ways if each[1] in wanted} <= now
        ways = now


def _ways(snapshot: Snapshot) -> set[tuple[str, Prefix]]:
    service = snapshot.services.get("web")
    every = snapshot.allocations.values() if service else ()
    return {
        (each.id, p) for each in every if service for p in service.prefixes_at(each.version)
    }


def _replaced(snapshot: Snapshot, number: int) -> Snapshot:
    """Return it with one of two instances of `web` of the newest version."""
    service = snapshot.services.get("web")
    if service is None:
        return snapshot
    one = make_allocation(f"web.fra.{number}-1", "fra-n1", version=service.version)
    return replace(snapshot, allocations={**snapshot.allocations, one.id: one})


def _check(snapshot: Snapshot) -> None:
    given: list[Prefix] = [each for s in snapshot.services.values() for each in s.prefixes]
    assert len(given) == len(set(given))
    for prefix in given:
        home = home_of(snapshot.platform, prefix.network_address)
        assert home is not None
        assert not unfit(snapshot.platform, home, prefix.network_address)
    assert all(_main_first(service) for service in snapshot.services.values())


def _main_first(service: Service) -> bool:
    return bool(service.prefixes) and not {service.prefix4, service.prefix6} & {*service.more}
