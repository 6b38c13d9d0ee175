"""What makes no sense in the rarer settings of one session."""

from collections.abc import Iterator

from pltfrms.model.network.peering import Session
from pltfrms.model.network.topology import Platform
from pltfrms.specfile.findings import Finding, Where, check_asn, check_range

_MOST_HOPS = 64
_REMOTE_PREFERENCE = 350
"""Local preference of our services in other datacenters."""


def check_far_session(platform: Platform, where: Where, session: Session) -> Iterator[Finding]:
    """Yield what is wrong with multihop, gateways, ASN and preference of a session."""
    if session.multihop:
        yield from _check_multihop(where, session)
    elif session.via:
        what = "a gateway leads to a neighbour that is not on our network"
        yield Finding((*where, "via"), what, "multihop: N, or leave it out")
    if session.local_as:
        yield from _check_local_as(platform, where, session)
    preference = session.preference
    if preference is not None and not 1 <= preference < _REMOTE_PREFERENCE:
        what = f"{preference} is outside 1..{_REMOTE_PREFERENCE - 1}"
        hint = (
            f"our services in other datacenters are at {_REMOTE_PREFERENCE}, above all others"
        )
        yield Finding((*where, "preference"), what, hint)


def _check_multihop(where: Where, session: Session) -> Iterator[Finding]:
    yield from check_range((*where, "multihop"), session.multihop, 1, _MOST_HOPS)
    lengths = {ours.network.prefixlen == ours.max_prefixlen for ours in session.ours}
    if len(lengths) > 1:
        what = "one is a single address of lo, the other one of the interface"
        yield Finding((*where, "ours"), what, "write two sessions, one for each family")
    for index, ours in enumerate(session.ours):
        if ours.version == 6 and ours.ip.is_link_local:  # noqa: PLR2004 (of IP)
            what = f"{ours.ip} is known on its own network alone"
            yield Finding((*where, "ours", index), what, "no router forwards it; multihop: 0")
    for index, theirs in enumerate(session.theirs):
        # 169.254.169.254 is where several hosters answer.
        if theirs.version == 6 and theirs.is_link_local:  # noqa: PLR2004 (of IP)
            what = f"{theirs} is known on its own network alone"
            yield Finding((*where, "theirs", index), what, "no router forwards it; multihop: 0")
    yield from _check_via(where, session)


def _check_via(where: Where, session: Session) -> Iterator[Finding]:
    families = [ours.version for ours in session.ours]
    seen: set[int] = set()
    for index, gateway in enumerate(session.via):
        here = (*where, "via", index)
        if gateway.version not in families:
            what = f"the session has no IPv{gateway.version}, and {gateway} is a gateway for it"
            yield Finding(here, what, "leave it out")
        if gateway.version in seen:
            yield Finding(
                here, f"a second gateway for IPv{gateway.version}", "keep one of them"
            )
        seen.add(gateway.version)
        if gateway in session.theirs:
            what = f"{gateway} is the neighbour itself, who is then on our network"
            yield Finding(here, what, "leave multihop and via out")
        if gateway in {ours.ip for ours in session.ours}:
            yield Finding(here, f"{gateway} is our own address")
        if gateway.is_unspecified or gateway.is_multicast or gateway.is_loopback:
            yield Finding(here, f"{gateway} is no address of a router")


def _check_local_as(platform: Platform, where: Where, session: Session) -> Iterator[Finding]:
    here = (*where, "local_as")
    yield from check_asn(here, session.local_as)
    if session.local_as == platform.asn:
        yield Finding(here, f"{session.local_as} is our ASN anyway", "leave it out")
    if any(p.asn == session.local_as and session in p.sessions for p in platform.peers):
        what = f"{session.local_as} is the ASN of the neighbour"
        yield Finding(here, what, "we are another network")
