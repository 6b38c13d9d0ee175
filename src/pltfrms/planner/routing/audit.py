"""What an auditor would say of the network: MANRS actions 1 to 4, limits, leftovers. Pure.

MANRS: Mutually Agreed Norms for Routing Security, actions for network operators: 1 filtering,
2 anti-spoofing, 3 coordination, 4 global validation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pltfrms.model.addresses import contains
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.peering import Peer, PeerKind, Roa, Session, customer_ports
from pltfrms.model.network.topology import Aggregate, Platform
from pltfrms.model.network.traffic import Override
from pltfrms.model.running.state import MachineStatus
from pltfrms.planner.routing.visibility import visibility

NEAR: Final = 0.8
"""From this share of a limit on, it is near."""
_DAY_MS: Final = 24 * 3600 * 1000
SOON_MS: Final = 7 * _DAY_MS


class Grade(StrEnum):
    """How much a remark matters."""

    GOOD = "good"
    ADVICE = "advice"
    WARNING = "warning"
    UNKNOWN = "unknown"
    """What would be needed to judge it is not here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One thing that was looked at."""

    topic: str
    """`MANRS 1` to `MANRS 4`, `limits`, `overrides`, `redundancy`, `sessions`,
    `visibility`."""
    about: str
    grade: Grade
    sentence: str


def audit(
    platform: Platform,
    interventions: Interventions,
    statuses: Mapping[str, MachineStatus] | None,
    roas: Sequence[Roa] | None,
    now_ms: int,
) -> tuple[Remark, ...]:
    """Return all remarks, by topic; None = not known, which gives remarks that say so."""
    return (
        *_filtering(platform),
        *_spoofing(platform),
        *_coordination(),
        *_validation(platform, roas),
        *_sessions(platform),
        *_redundancy(platform),
        *_visibility(platform, interventions, statuses, now_ms),
        *_limits(platform, statuses),
        *_overrides(platform, interventions, now_ms),
    )


def _remark(topic: str, about: str, grade: Grade, sentence: str) -> Remark:
    return Remark(topic=topic, about=about, grade=grade, sentence=sentence)


def _filtering(platform: Platform) -> Iterator[Remark]:
    yield _remark(
        "MANRS 1",
        "announcements",
        Grade.GOOD,
        "every session announces an allow-list: our aggregates and our customers' prefixes",
    )
    for peer in platform.peers:
        if peer.kind is PeerKind.CUSTOMER:
            count = len(peer.allowed)
            sentence = f"may announce {count} prefixes and their parts, of "
            sentence += f"{1 + len(peer.allowed_asns)} origins"
            yield _remark("MANRS 1", peer.name, Grade.GOOD, sentence)
    caches = len(platform.origin_validation.caches)
    if caches > 1:
        grade, sentence = Grade.GOOD, f"origins are validated with {caches} RPKI caches"
    elif caches:
        grade, sentence = Grade.ADVICE, "one RPKI cache; give two, of different datacenters"
    else:
        grade, sentence = Grade.WARNING, "origins are not validated; set `rpki: {caches: …}`"
    yield _remark("MANRS 1", "origin validation", grade, sentence)


def _spoofing(platform: Platform) -> Iterator[Remark]:
    customers = [peer for peer in platform.peers if peer.kind is PeerKind.CUSTOMER]
    for peer in customers:
        unfiltered = [s.edge for s in peer.sessions if not _is_filtered(platform, s)]
        if unfiltered:
            sentence = "packets with foreign source addresses are not filtered at "
            sentence += f"{', '.join(dict.fromkeys(unfiltered))}: give it a port of its own"
            yield _remark("MANRS 2", peer.name, Grade.WARNING, sentence)
        else:
            sentence = "packets with foreign source addresses are dropped on its ports"
            yield _remark("MANRS 2", peer.name, Grade.GOOD, sentence)
    if not customers:
        sentence = "no customers: only our own instances send packets"
        yield _remark("MANRS 2", "customers", Grade.GOOD, sentence)


def _is_filtered(platform: Platform, session: Session) -> bool:
    return session.interface in customer_ports(platform.sessions_of(session.edge))


def _coordination() -> Iterator[Remark]:
    sentence = "contacts in RIR, IRR and PeeringDB cannot be seen from here; check them"
    yield _remark("MANRS 3", "contacts", Grade.UNKNOWN, sentence)


def _validation(platform: Platform, roas: Sequence[Roa] | None) -> Iterator[Remark]:
    for aggregate in platform.aggregates:
        about = str(aggregate.prefix)
        if roas is None:
            sentence = "not known whether a ROA covers it; give --roas FILE"
            yield _remark("MANRS 4", about, Grade.UNKNOWN, sentence)
            continue
        covering = [roa for roa in roas if contains(roa.prefix, aggregate.prefix)]
        for asn in _asns_that_announce(platform, aggregate):
            whose = about if asn == platform.asn else f"{about} by AS{asn}"
            yield _judge_roas(asn, whose, aggregate.prefix.prefixlen, covering)


def _asns_that_announce(platform: Platform, aggregate: Aggregate) -> tuple[int, ...]:
    """Return who we are for the neighbours that may hear of an aggregate."""
    asns = {
        session.local_as or platform.asn
        for peer in platform.peers
        for session in peer.sessions
        if aggregate in platform.aggregates_of(platform.machine(session.edge).datacenter)
        and aggregate.prefix.version in {ours.version for ours in session.ours}
    }
    return tuple(sorted(asns or {platform.asn}, key=lambda asn: (asn != platform.asn, asn)))


def _judge_roas(asn: int, about: str, length: int, covering: Sequence[Roa]) -> Remark:
    ours = [roa for roa in covering if roa.asn == asn and roa.max_length >= length]
    if not covering:
        return _remark("MANRS 4", about, Grade.WARNING, "no ROA covers it; make one")
    if not ours:
        others = ", ".join(f"AS{roa.asn} up to /{roa.max_length}" for roa in covering)
        sentence = f"RPKI says that we may not announce it: it has {others}"
        return _remark("MANRS 4", about, Grade.WARNING, sentence)
    loose = [roa for roa in ours if roa.max_length > length]
    if loose:
        sentence = f"its ROA allows parts up to /{loose[0].max_length} that we never announce"
        return _remark("MANRS 4", about, Grade.ADVICE, sentence)
    return _remark("MANRS 4", about, Grade.GOOD, "its ROA allows exactly what we announce")


def _sessions(platform: Platform) -> Iterator[Remark]:
    for peer in platform.peers:
        plain = [s.edge for s in peer.sessions if not s.password and not s.gtsm]
        if plain:
            sentence = f"neither password nor GTSM at {', '.join(dict.fromkeys(plain))}"
            yield _remark("sessions", peer.name, Grade.ADVICE, sentence)
        slow = [s.edge for s in peer.sessions if not s.bfd]
        if slow:
            sentence = (
                f"no BFD at {', '.join(dict.fromkeys(slow))}: a silent failure lasts 90 s"
            )
            yield _remark("sessions", peer.name, Grade.ADVICE, sentence)


def _redundancy(platform: Platform) -> Iterator[Remark]:
    for datacenter in platform.datacenters:
        edges = {
            session.edge
            for peer in platform.peers
            for session in peer.sessions
            if platform.machine(session.edge).datacenter == datacenter.name
        }
        if len(edges) == 1:
            sentence = f"only {edges.pop()} speaks with the outside"
            yield _remark("redundancy", datacenter.name, Grade.WARNING, sentence)
    transits = [peer for peer in platform.peers if peer.kind is PeerKind.TRANSIT]
    if len(transits) == 1:
        sentence = f"{transits[0].name} is the only transit"
        yield _remark("redundancy", "transit", Grade.WARNING, sentence)


def _visibility(
    platform: Platform,
    interventions: Interventions,
    statuses: Mapping[str, MachineStatus] | None,
    now_ms: int,
) -> Iterator[Remark]:
    if statuses is None:
        yield _remark("visibility", "aggregates", Grade.UNKNOWN, "no controller was asked")
        return
    for each in visibility(platform, interventions, statuses, now_ms):
        about, short = str(each.prefix), each.shortfalls(platform)
        heard = f"announced on {each.sessions} of {each.possible} sessions"
        if short:
            yield _remark("visibility", about, Grade.WARNING, "; ".join(short))
        elif each.unknown:
            sentence = f"{heard}; of {each.unknown} it is not known"
            yield _remark("visibility", about, Grade.UNKNOWN, sentence)
        else:
            yield _remark("visibility", about, Grade.GOOD, heard)


def _limits(
    platform: Platform, statuses: Mapping[str, MachineStatus] | None
) -> Iterator[Remark]:
    if statuses is None:
        yield _remark("limits", "sessions", Grade.UNKNOWN, "no controller was asked")
        return
    for edge, status in sorted(statuses.items()):
        peers = {
            name: peer
            for name, (peer, _) in zip(
                platform.session_names(edge), platform.sessions_of(edge), strict=True
            )
        }
        for session in status.sessions:
            kind, _, rest = session.name.partition(".")
            name, _, family = rest.rpartition(".ipv")
            if kind == "peer" and name in peers:
                about = f"{name}@{edge}"
                yield from _limit(peers[name], about, int(family), session.imported)


def _limit(peer: Peer, about: str, family: int, imported: int) -> Iterator[Remark]:
    most = peer.max_prefixes(family)
    if imported >= NEAR * most:
        sentence = f"{imported} of at most {most} IPv{family} prefixes; raise max_prefixes"
        yield _remark("limits", about, Grade.WARNING, sentence)


def _overrides(
    platform: Platform, interventions: Interventions, now_ms: int
) -> Iterator[Remark]:
    for override in platform.traffic:
        about = _words(override)
        if not override.until_ms:
            continue
        days = (override.until_ms - now_ms) / _DAY_MS
        if not override.holds(now_ms):
            sentence = f"ended {-days:.0f} days ago; take it out of the spec"
            yield _remark("overrides", about, Grade.WARNING, sentence)
        elif override.until_ms - now_ms < SOON_MS:
            yield _remark("overrides", about, Grade.ADVICE, f"ends in {days:.1f} days")
    for drain in interventions.drains:
        if drain.holds(now_ms):
            days = (now_ms - drain.since_ms) / _DAY_MS
            grade = Grade.WARNING if days >= 1 and not drain.until_ms else Grade.ADVICE
            sentence = f"drained for {days:.1f} days{f': {drain.why}' if drain.why else ''}"
            yield _remark("overrides", drain.about, grade, sentence)
    if interventions.freeze:
        hours = (now_ms - interventions.freeze.since_ms) / 3_600_000
        sentence = f"frozen for {hours:.1f} hours: nothing heals routes"
        yield _remark("overrides", "network", Grade.WARNING, sentence)


def _words(override: Override) -> str:
    conditions = (override.prefix, override.peer, override.kind, override.datacenter)
    said = [str(word) for word in (*conditions, override.edge) if word]
    return " ".join(said) or "everything"
