"""Shapes of peers -> words of the model."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from pltfrms.model.network.peering import Allowed, DefaultRoute, Peer, PeerKind, Session
from pltfrms.specfile.building.notes import Notes
from pltfrms.specfile.findings import MAX_LENGTH, Finding, Where
from pltfrms.specfile.shapes.peering import PeerShape, SessionShape
from pltfrms.specfile.shapes.platform import PlatformShape
from pltfrms.specfile.shapes.units import prefix, wrong

_LIMITS = {
    PeerKind.TRANSIT: {4: 1_500_000, 6: 400_000},
    PeerKind.IXP: {4: 500_000, 6: 200_000},
    PeerKind.PNI: {4: 200_000, 6: 100_000},
    PeerKind.CUSTOMER: {4: 10_000, 6: 10_000},
}
"""Most prefixes by default, by IP version: what such peers bring, not the whole internet."""
_LENGTH = re.compile(r"[0-9]{1,3}\Z", re.ASCII)
_PeeringDb = Mapping[int, Mapping[int, int]]
"""ASN -> IP version -> how many prefixes it says it has."""


def build_peers(shape: PlatformShape, notes: Notes) -> tuple[Peer, ...]:
    """Return the peers; what is wrong with their text and files is noted."""
    said = _peeringdb(shape.peeringdb, notes) if shape.peeringdb else None
    for name, entry in shape.peers.items():
        if entry.max_prefixes.peeringdb and not shape.peeringdb:
            what = "the platform has no file with PeeringDB's answer"
            where = ("peers", name, "max_prefixes")
            hint = "peeringdb: FILE at the top level"
            notes.findings.append(Finding(where, what, hint, "peeringdb"))
    return tuple(_peer(name, entry, said, notes) for name, entry in shape.peers.items())


def _peer(name: str, shape: PeerShape, said: _PeeringDb | None, notes: Notes) -> Peer:
    where = ("peers", name)
    kind = PeerKind(shape.kind)
    if "route_server" in shape.model_fields_set and kind is not PeerKind.IXP:
        what = f"route_server belongs to an ixp, not to a {kind}"
        notes.findings.append(Finding((*where, "route_server"), what, "leave it out"))
    limits = _limits(where, shape, said, notes)
    return Peer(
        name=name,
        kind=kind,
        asn=shape.asn,
        sessions=tuple(
            _session(name, (*where, "sessions", index), entry, notes)
            for index, entry in enumerate(shape.sessions)
        ),
        max_prefixes4=limits[4],
        max_prefixes6=limits[6],
        route_server=shape.route_server or kind is not PeerKind.IXP,
        allowed=_allowed(where, shape, notes),
        allowed_asns=tuple(shape.asns),
        blackhole=shape.blackhole is not None,
        blackhole_communities=tuple(shape.blackhole.communities) if shape.blackhole else (),
        default=DefaultRoute(shape.default),
    )


# ---- sessions ------------------------------------------------------------------------------


def _session(peer: str, where: Where, shape: SessionShape, notes: Notes) -> Session:
    notes.check_capacity(where, shape)
    if shape.multihop and not shape.interface:
        what = "is missing: a neighbour that is hops away is behind no port of its own"
        hint = "the machine's own way to the internet, such as interface: eth0"
        notes.findings.append(Finding((*where, "interface"), what, hint, ""))
    if shape.local_as == 0:
        hint = "leave it out: then it is the platform's"
        notes.findings.append(Finding((*where, "local_as"), "0 is not an ASN", hint))
    return Session(
        edge=shape.edge,
        ours=tuple(shape.ours),
        theirs=tuple(shape.theirs),
        interface=shape.interface or f"x-{peer}",
        bfd=shape.bfd,
        password=_password(where, shape, notes),
        gtsm=shape.gtsm,
        require_role=shape.require_role,
        capacity_mbps=shape.capacity,
        multihop=shape.multihop,
        via=tuple(shape.via),
        passive=shape.passive,
        local_as=shape.local_as or 0,
        preference=shape.preference,
    )


def _password(where: Where, shape: SessionShape, notes: Notes) -> str:
    if not shape.password_file:
        return shape.password
    here = (*where, "password_file")
    if shape.password:
        what = "password and password_file are both there"
        notes.findings.append(Finding(here, what, "keep one of them"))
        return shape.password
    text = notes.text_of(here, shape.password_file)
    if text is None:
        return ""
    source = str(notes.directory / shape.password_file)
    password = text.removesuffix("\n")
    if not password:
        what = "there is no password in it"
        notes.findings.append(Finding(here, what, source=(source, 0)))
    notes.sources[*where, "password"] = (here, (source, 1))
    return password


# ---- how many prefixes ---------------------------------------------------------------------


def _peeringdb(name: str, notes: Notes) -> _PeeringDb | None:
    """Return what the networks say of themselves; None, noted, if the file is no answer."""
    where = ("peeringdb",)
    text = notes.text_of(where, name)
    if text is None:
        return None
    try:
        return dict(_networks(json.loads(text)))
    except (ValueError, RecursionError):
        what = "is not what PeeringDB's /api/net answers"
        hint = 'JSON such as {"data": [{"asn": …, "info_prefixes4": …, "info_prefixes6": …}]}'
        source = (str(notes.directory / name), 0)
        notes.findings.append(Finding(where, what, hint, source=source))
        return None


def _networks(answer: Any) -> Iterator[tuple[int, Mapping[int, int]]]:
    """Yield the networks of an answer; ValueError if it is none."""
    entries = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        raise ValueError("no data")  # noqa: TRY004 (the file is wrong, not our types)
    for entry in entries:
        asn = entry.get("asn") if isinstance(entry, dict) else None
        if not isinstance(asn, int):
            raise ValueError("no asn")  # noqa: TRY004 (as above)
        counts = {4: entry.get("info_prefixes4"), 6: entry.get("info_prefixes6")}
        # What a network does not say is null, and says as little as 0.
        yield asn, {v: n if isinstance(n, int) else 0 for v, n in counts.items()}


def _limits(
    where: Where, shape: PeerShape, said: _PeeringDb | None, notes: Notes
) -> Mapping[int, int]:
    kind = PeerKind(shape.kind)
    member = kind is PeerKind.IXP and not shape.route_server
    limits = dict(_LIMITS[PeerKind.PNI if member else kind])
    wanted = shape.max_prefixes
    if wanted.peeringdb and said is not None:
        limits |= _announced(where, shape, said.get(shape.asn), notes)
    for version, limit in ((4, wanted.ipv4), (6, wanted.ipv6)):
        if limit is not None:
            limits[version] = limit
    return limits


def _announced(
    where: Where, shape: PeerShape, counts: Mapping[int, int] | None, notes: Notes
) -> dict[int, int]:
    """Return the limits of the families in use by what the network says of itself."""
    here = (*where, "max_prefixes")
    wanted = _families_to_ask(shape)
    if counts is None:
        what = f"the file of PeeringDB has no network with ASN {shape.asn}"
        notes.findings.append(Finding(here, what, "fetch it again, or say a number"))
        return {}
    for version in wanted:
        if counts[version] < 1:
            what = f"AS{shape.asn} says in PeeringDB that it has no IPv{version} prefixes"
            hint = f"say a number: {{peeringdb: true, ipv{version}: …}}"
            notes.findings.append(Finding(here, what, hint))
    return {v: _with_room(counts[v]) for v in wanted if counts[v] > 0}


def _families_to_ask(shape: PeerShape) -> list[int]:
    used = {ours.version for session in shape.sessions for ours in session.ours}
    said: Mapping[int, int | None] = {4: shape.max_prefixes.ipv4, 6: shape.max_prefixes.ipv6}
    return [version for version in sorted(used) if said[version] is None]


def _with_room(count: int) -> int:
    """Return a fifth more, rounded up, and at least 100 more."""
    return max((count * 6 + 4) // 5, count + 100)


# ---- what a customer may announce ----------------------------------------------------------


def _allowed(where: Where, shape: PeerShape, notes: Notes) -> tuple[Allowed, ...]:
    if shape.as_set and not shape.prefixes_file:
        what = "there is no prefixes_file that is made from it"
        hint = "prefixes_file: FILE, filled with the prefixes of the as-set"
        notes.findings.append(Finding((*where, "as_set"), what, hint, "prefixes_file"))
    allowed = [
        Allowed(
            prefix=entry.prefix,
            max_length=(
                _usual_length(entry.prefix.prefixlen, entry.prefix.version)
                if entry.max_length is None
                else entry.max_length
            ),
        )
        for entry in shape.prefixes
    ]
    if shape.prefixes_file:
        allowed += _from_file(where, shape.prefixes_file, len(allowed), notes)
    return tuple(allowed)


def _usual_length(length: int, version: int) -> int:
    return max(length, MAX_LENGTH[version])


def _from_file(where: Where, name: str, first: int, notes: Notes) -> list[Allowed]:
    """Return the prefixes of a file; `first` is the index that the first of them gets."""
    here = (*where, "prefixes_file")
    before = len(notes.findings)
    text = notes.text_of(here, name)
    allowed: list[Allowed] = []
    for number, line in enumerate((text or "").splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        source = (str(notes.directory / name), number)
        try:
            found = _line(words)
        except PydanticCustomError as error:
            said = error.context or {}
            what, hint = str(said["what"]), str(said["hint"])
            notes.findings.append(Finding(here, what, hint, source=source))
            continue
        notes.sources[*where, "prefixes", first + len(allowed)] = (here, source)
        allowed.append(found)
    if not allowed and len(notes.findings) == before:
        what = "there is no prefix in it: a list that became empty is a mistake"
        hint = "fetch it again, or remove prefixes_file"
        source = (str(notes.directory / name), 0)
        notes.findings.append(Finding(here, what, hint, source=source))
    if len(notes.findings) > before:
        notes.short.add((*where, "prefixes"))
    return allowed


def _line(words: list[str]) -> Allowed:
    """Return what a line of a file allows; PydanticCustomError as `prefix`."""
    found = prefix(words[0])
    if len(words) == 1:
        length = _usual_length(found.prefixlen, found.version)
        return Allowed(prefix=found, max_length=length)
    if len(words) == 2 and _LENGTH.match(words[1]):  # noqa: PLR2004 (prefix and length)
        return Allowed(prefix=found, max_length=int(words[1]))
    what = f"{' '.join(words)!r} is neither a prefix nor a prefix and its max_length"
    raise wrong(what, "such as 192.0.2.0/23 24")
