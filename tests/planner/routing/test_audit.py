"""What the audit says, and that it says so when it does not know."""

from dataclasses import replace
from ipaddress import ip_network

from pltfrms.model.network.interventions import Drain, Freeze, Interventions
from pltfrms.model.network.peering import Allowed, OriginValidation, PeerKind, Roa, RtrCache
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.traffic import Override
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import AggregateStatus, MachineStatus, SessionStatus
from pltfrms.planner.routing.audit import Grade, Remark, audit
from tests.render.platforms import SMALL

DAY_MS = 24 * 3600 * 1000
NOW = 1000 * DAY_MS
NOTHING = Interventions()


def remarks(
    platform: Platform = SMALL,
    interventions: Interventions = NOTHING,
    statuses: dict[str, MachineStatus] | None = None,
    roas: tuple[Roa, ...] | None = None,
) -> dict[tuple[str, str], Remark]:
    found = audit(platform, interventions, statuses, roas, NOW)
    return {(each.topic, each.about): each for each in found}


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    found = remarks()
    aggregate = str(SMALL.aggregates[0].prefix)
    assert found["MANRS 4", aggregate].grade is Grade.UNKNOWN
    assert found["limits", "sessions"].grade is Grade.UNKNOWN
    assert found["MANRS 3", "contacts"].grade is Grade.UNKNOWN


def test_a_roa_must_allow_exactly_what_is_announced() -> None:
    prefix = SMALL.aggregates[0].prefix
    about = ("MANRS 4", str(prefix))
    length = prefix.prefixlen

    def grade(*roas: Roa) -> Grade:
        return remarks(roas=roas)[about].grade

    assert grade() is Grade.WARNING
    assert grade(Roa(prefix=prefix, asn=SMALL.asn, max_length=length)) is Grade.GOOD
    assert grade(Roa(prefix=prefix, asn=SMALL.asn, max_length=length + 1)) is Grade.ADVICE
    assert grade(Roa(prefix=prefix, asn=1, max_length=length)) is Grade.WARNING


def test_each_asn_of_ours_is_audited() -> None:
    peer, *others = SMALL.peers
    sessions = tuple(replace(each, local_as=64510) for each in peer.sessions)
    merged = replace(SMALL, peers=(replace(peer, sessions=sessions), *others))
    prefix = SMALL.aggregates[0].prefix
    ours = Roa(prefix=prefix, asn=SMALL.asn, max_length=prefix.prefixlen)
    found = remarks(merged, roas=(ours,))
    assert found["MANRS 4", str(prefix)].grade is Grade.GOOD
    assert found["MANRS 4", f"{prefix} by AS64510"].grade is Grade.WARNING
    theirs = replace(ours, asn=64510)
    found = remarks(merged, roas=(ours, theirs))
    assert found["MANRS 4", f"{prefix} by AS64510"].grade is Grade.GOOD


def test_two_caches_are_good_one_is_not_enough_none_is_a_warning() -> None:
    cache = RtrCache(address=ip_network("192.0.2.1/32").network_address)

    def grade(count: int) -> Grade:
        validation = OriginValidation(caches=(cache,) * count)
        found = remarks(replace(SMALL, origin_validation=validation))
        return found["MANRS 1", "origin validation"].grade

    assert [grade(count) for count in (0, 1, 2)] == [Grade.WARNING, Grade.ADVICE, Grade.GOOD]


def test_a_limit_that_is_near_is_seen() -> None:
    def found(imported: int) -> bool:
        session = SessionStatus(name="peer.transit1.ipv4", up=True, imported=imported)
        status = MachineStatus(machine="fra-e1", sessions=(session,))
        return ("limits", "transit1@fra-e1") in remarks(statuses={"fra-e1": status})

    assert not found(1_000_000)
    assert found(1_200_000)


def test_overrides_that_ended_or_end_soon_are_seen() -> None:
    traffic = (
        Override(peer="transit1", prepend=1, until_ms=NOW - DAY_MS),
        Override(peer="ixp1", prepend=1, until_ms=NOW + DAY_MS),
        Override(peer="ixp1", datacenter="fra", prepend=1, until_ms=NOW + 30 * DAY_MS),
        Override(datacenter="ams", prepend=1),
    )
    found = remarks(replace(SMALL, traffic=traffic))
    assert found["overrides", "transit1"].grade is Grade.WARNING
    assert found["overrides", "ixp1"].grade is Grade.ADVICE
    assert ("overrides", "ixp1 fra") not in found
    assert ("overrides", "ams") not in found


def test_a_forgotten_drain_or_freeze_is_seen() -> None:
    left = Interventions(
        drains=(Drain(peer="ixp1", since_ms=NOW - 2 * DAY_MS, wait_ms=0),),
        freeze=Freeze(since_ms=NOW - DAY_MS),
    )
    found = remarks(interventions=left)
    assert found["overrides", "ixp1"].grade is Grade.WARNING
    assert found["overrides", "network"].grade is Grade.WARNING


def test_a_planned_drain_is_not_forgotten_and_one_with_an_end_ends() -> None:
    drains = (
        Drain(datacenter="fra", since_ms=NOW + 1, wait_ms=0),
        Drain(node="fra-n1", since_ms=NOW - 2 * DAY_MS, wait_ms=0, until_ms=NOW + 1),
        Drain(peer="ixp1", since_ms=NOW - 2 * DAY_MS, wait_ms=0, until_ms=NOW),
    )
    found = remarks(interventions=Interventions(drains=drains))
    about = {
        about: each.grade for (topic, about), each in found.items() if topic == "overrides"
    }
    assert about == {"node/fra-n1": Grade.ADVICE}


def test_an_aggregate_that_is_hardly_heard_is_seen() -> None:
    about = ("visibility", str(SMALL.aggregates[0].prefix))
    assert remarks()["visibility", "aggregates"].grade is Grade.UNKNOWN
    assert remarks(statuses={})[about].grade is Grade.UNKNOWN

    def say(edge: str, exported: int) -> MachineStatus:
        sessions = tuple(
            SessionStatus(name=f"peer.{name}.ipv4", up=True, exported=exported)
            for name in SMALL.session_names(edge)
        )
        told = AggregateStatus(prefix=about[1], announced=True, reason=Reason.LOCAL_SERVICE)
        return MachineStatus(machine=edge, sessions=sessions, aggregates=(told,))

    edges = {s.edge for peer in SMALL.peers for s in peer.sessions}
    good = remarks(statuses={edge: say(edge, 1) for edge in edges})[about]
    assert (good.grade, good.sentence) == (Grade.GOOD, "announced on 3 of 3 sessions")
    bad = remarks(statuses={edge: say(edge, 0) for edge in edges})[about]
    assert bad.grade is Grade.WARNING
    assert bad.sentence.startswith("announced on 0 of 3 sessions; vantage_floor is 2; ")


def test_customers_sources_are_filtered_unless_they_share_a_port() -> None:
    line = replace(SMALL.peers[0].sessions[0], interface="x-shop")
    customer = replace(
        SMALL.peers[0],
        name="shop",
        kind=PeerKind.CUSTOMER,
        sessions=(line,),
        allowed=(Allowed(prefix=ip_network("45.1.0.0/16"), max_length=24),),
    )
    found = remarks(replace(SMALL, peers=(*SMALL.peers, customer)))
    assert found["MANRS 2", "shop"].grade is Grade.GOOD
    assert "1 prefixes" in found["MANRS 1", "shop"].sentence
    shared = replace(customer, sessions=(replace(line, interface="x-transit1"),))
    remark = remarks(replace(SMALL, peers=(*SMALL.peers, shared)))["MANRS 2", "shop"]
    assert remark.grade is Grade.WARNING
    assert "fra-e1" in remark.sentence
