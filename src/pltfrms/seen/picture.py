"""A snapshot as a page shows it. Pure: from one `SnapshotView` to one `Picture`.

What an element out of contact said last is told as that. Red is only what somebody knows.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

from pltfrms.model.addresses import contains
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.messages.picture import (
    AggregateElement,
    Concern,
    Counts,
    DatacenterElement,
    EdgeElement,
    Element,
    FabricElement,
    LinkElement,
    MachineElement,
    PeerElement,
    Picture,
    Seen,
    ServiceElement,
    SessionElement,
)
from pltfrms.model.network.interventions import DrainPhase
from pltfrms.model.network.links import Link
from pltfrms.model.network.topology import AnnouncePolicy, Datacenter, Machine, Role
from pltfrms.model.running.state import (
    NOT_KNOWN,
    Contact,
    LinkStatus,
    MachineStatus,
    Phase,
    Snapshot,
)
from pltfrms.planner.routing.visibility import present_statuses
from pltfrms.seen.announced import AggregateRow, EdgeWord, aggregate_rows
from pltfrms.seen.cities import location_of
from pltfrms.seen.clients import client_concerns, client_elements
from pltfrms.seen.fabrics import fabric_elements
from pltfrms.seen.headline import headline
from pltfrms.seen.jobs import job_elements, run_concerns
from pltfrms.seen.loads import load_rows, service_loads
from pltfrms.seen.missing import missing_machines, silent_datacenters
from pltfrms.seen.network import EXTERNAL, UNKNOWN, SessionRow, edge_rows, session_rows
from pltfrms.seen.nodes import node_loads
from pltfrms.seen.services import replica_counts, service_elements, volume_concerns
from pltfrms.seen.summary import machine_problems, note_lines, problem_lines
from pltfrms.seen.words import as_decided, drain_word, released, signed

_NAMED = 3
_SAME_MS = 3000
"""How far two words about the beginning of the same contact may be apart."""
_CONTACT_WORDS = {
    Contact.LOST: "out of contact, and no edge hears it",
    Contact.UNKNOWN: "whether it lives is not known",
}
_NOT_LATE = "its heartbeat is not late yet"
_UP = {"up": Seen.GOOD, "down": Seen.BAD}


def picture_of(view: SnapshotView, now_ms: int, before: Picture | None = None) -> Picture:
    """Return the picture of a platform at a Unix time; `before` is the one made last."""
    snapshot = view.last_known
    seeing = _Seeing(snapshot, now_ms, before)
    sessions = tuple(seeing.sessions())
    drawn = Picture(
        platform=snapshot.platform.name,
        controller=view.controller,
        revision=snapshot.revision,
        stale_since_ms=_stale_since(view, now_ms, before),
        headline=headline(view, (), ()),
        datacenters=tuple(map(seeing.datacenter, snapshot.platform.datacenters)),
        edges=tuple(seeing.edges()),
        machines=tuple(seeing.machines()),
        peers=tuple(seeing.peers(sessions)),
        sessions=sessions,
        links=tuple(seeing.links()),
        fabrics=tuple(seeing.fabrics()),
        services=tuple(seeing.services(service_loads(view.redundancy))),
        clients=tuple(client_elements(view)),
        jobs=tuple(job_elements(snapshot, now_ms, before.jobs if before else ())),
        problems=_troubles(problem_lines(replace(view, stale_seconds=0.0), snapshot, now_ms)),
        hands=tuple(seeing.hands()),
        waits=_troubles(note_lines(view)),
    )
    known = run_concerns(drawn.problems, drawn.jobs)
    more = (
        *_broken(drawn, seeing.silent),
        *_sessions_down(drawn),
        *volume_concerns(drawn.services),
        *client_concerns(drawn),
    )
    drawn = replace(drawn, problems=(*known, *more))
    return replace(drawn, headline=headline(view, drawn.services, _anything(drawn)))


def _broken(view: Picture, silent: Mapping[str, str]) -> Iterator[Concern]:
    """Yield one word for each machine and link that is not known to be well.

    Of a `silent` datacenter one for all that is not known in it, whether it is drained or not.
    """
    said = {problem.about for problem in view.problems}
    for name in (each for each in silent if each not in said):
        yield Concern(id=name, about=name, sentence=silent[name])
    both: tuple[EdgeElement | MachineElement, ...] = (*view.edges, *view.machines)
    machines = (  # an edge may be a node, too
        each for each in both if each.state is not Seen.UNKNOWN or each.datacenter not in silent
    )
    fabrics = (each for each in view.fabrics if each.state is Seen.BAD)
    for each in (*machines, *view.links, *fabrics):
        if each.why and each.state in {Seen.BAD, Seen.UNKNOWN} and each.id not in said:
            said.add(each.id)
            yield Concern(id=each.id, about=each.id, sentence=each.why, since_ms=each.since_ms)


def _sessions_down(view: Picture) -> Iterator[Concern]:
    """Yield one word for each neighbour with sessions that are down; not known is not down."""
    down: defaultdict[str, list[SessionElement]] = defaultdict(list)
    for each in view.sessions:
        if each.state is Seen.BAD:
            down[each.peer].append(each)
    for peer, some in down.items():
        names = ", ".join(each.id for each in some[:_NAMED])
        more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
        why = f" ({some[0].why})" if some[0].why else ""
        sentence = f"down: {names}{more}{why}"
        yield Concern(
            id=f"peer/{peer}",
            about=peer,
            sentence=sentence,
            command=f"pltfrms peer show {peer}",
        )


def _anything(view: Picture) -> tuple[Element | Concern, ...]:
    """Return what is not as it should be, as it is listed: each thing once."""
    said = {each.about for each in (*view.problems, *view.waits)}
    elements: tuple[Element, ...] = (*view.datacenters, *view.services)
    rest = (
        each
        for each in elements
        if each.state not in {Seen.GOOD, Seen.PLANNED} and each.id not in said
    )
    return (*view.problems, *view.waits, *rest)


def _stale_since(view: SnapshotView, now_ms: int, before: Picture | None) -> int:
    if not view.stale_seconds:
        return 0
    since = now_ms - round(view.stale_seconds * 1000)
    known = before.stale_since_ms if before else 0
    return known if known and abs(known - since) < _SAME_MS else since


def _troubles(lines: Iterable[str]) -> tuple[Concern, ...]:
    """Return each line, which begins with what it is about, once."""
    return tuple(
        Concern(id=line, about=line.partition(": ")[0], sentence=line.partition(": ")[2])
        for line in dict.fromkeys(lines)
    )


class _Seeing:
    """Looks at one snapshot."""

    def __init__(self, snapshot: Snapshot, now_ms: int, before: Picture | None) -> None:
        self._done = snapshot.interventions
        snapshot = replace(snapshot, interventions=as_decided(self._done))
        self._snapshot = snapshot
        self._now_ms = now_ms
        self._platform = snapshot.platform
        self._before = (
            {e.id: e.since_ms for e in (*before.edges, *before.machines)} if before else {}
        )
        present = self._present = present_statuses(snapshot)
        self._missing = missing_machines(snapshot.platform, present)
        self.silent = silent_datacenters(snapshot, present)
        """Why nobody hears anything of datacenters, by name."""
        self._counts = replica_counts(snapshot)
        self._needed = _needed(snapshot, self._counts)
        self._rows = {
            each.name: aggregate_rows(snapshot, each) for each in self._platform.datacenters
        }

    # ---- machines --------------------------------------------------------------------------

    def datacenter(self, datacenter: Datacenter) -> DatacenterElement:
        """Return a site: as its edges announce it, and else as its machines are."""
        name = datacenter.name
        managed = [each for each in self._platform.managed if each.datacenter == name]
        present = sum(self._snapshot.contact(m.name) is Contact.PRESENT for m in managed)
        places = [counts[name] for counts in self._counts.values() if name in counts]
        place = location_of(datacenter)
        aggregates = tuple(self._aggregate(row, name) for row in self._rows[name])
        known = (a for a, row in zip(aggregates, self._rows[name], strict=True) if row.edges)
        state, last = _worst(known)
        drain = drain_word(self._snapshot.interventions, f"datacenter/{name}", self._now_ms)
        why = self.silent.get(name, "")
        if why:
            last = (last or Seen.GOOD) if state is Seen.UNKNOWN else state
            state = Seen.UNKNOWN
        if drain not in {"-", "planned"}:
            state, last = Seen.PLANNED, None
        return DatacenterElement(
            id=name,
            state=state,
            last=last if state is Seen.UNKNOWN else None,
            why=f"drained: {drain}" if state is Seen.PLANNED else why,
            city=datacenter.city,
            lat=place.lat if place else None,
            lon=place.lon if place else None,
            machines=len(managed),
            present=present,
            wanted=sum(each.wanted for each in places),
            ready=sum(each.ready for each in places),
            unknown=sum(each.unknown for each in places),
            aggregates=aggregates,
        )

    def edges(self) -> Iterator[EdgeElement]:
        """Yield the edges in spec order."""
        for row in edge_rows(self._snapshot, self._now_ms):
            edge = self._platform.machine(row.name)
            aggregates = tuple(
                _said(word, each.prefix, (each.prefix, row.datacenter) in self._needed)
                for each in self._rows[row.datacenter]
                for word in each.edges
                if word.edge == row.name
            )
            element = self._element(edge)
            if element.state is Seen.GOOD and row.drain not in {"none", EXTERNAL}:
                why = f"drained: {row.drain}"
                element = replace(element, state=Seen.PLANNED, why=why, since_ms=0)
            yield EdgeElement(
                id=row.name,
                state=element.state,
                why=element.why,
                last=element.last,
                since_ms=element.since_ms,
                datacenter=row.datacenter,
                routing=row.routing,
                aggregates=aggregates,
            )

    def machines(self) -> Iterator[MachineElement]:
        """Yield the machines that are no edge alone, in spec order."""
        loads = node_loads(self._snapshot)
        for machine in self._platform.managed:
            if machine.roles == (Role.EDGE,):
                continue
            status = self._snapshot.statuses.get(machine.name)
            instances = status.instances if status else ()
            element = self._element(machine)
            drain = drain_word(
                self._snapshot.interventions, f"node/{machine.name}", self._now_ms
            )
            if element.state is Seen.GOOD and drain == "drained":
                element = replace(element, state=Seen.PLANNED, why="drained", since_ms=0)
            yield MachineElement(
                id=machine.name,
                state=element.state,
                why=element.why,
                last=element.last,
                since_ms=element.since_ms,
                datacenter=machine.datacenter,
                roles=tuple(role.value for role in machine.roles),
                instances=len(instances),
                ready=sum(each.phase is Phase.READY for each in instances),
                failing=sum(bool(each.failure) for each in instances),
                load=loads.get(machine.name),
            )

    def _element(self, machine: Machine) -> Element:
        """Return how a machine is, by what controllers know of its contact.

        Since when is known of the contact alone.
        """
        if machine.external:
            return Element(id=machine.name, state=Seen.UNKNOWN)  # others manage it
        view = self._snapshot.machines.get(machine.name)
        status = self._snapshot.statuses.get(machine.name)
        contact = view.contact if view else Contact.UNKNOWN
        since_ms = self._since_ms(machine.name, view.since_seconds) if view else 0
        unheard = self._missing.get(machine.name, "")
        silent = self.silent.get(machine.datacenter, "")
        if contact is Contact.PRESENT:
            problems = machine_problems(status)
            state = Seen.BAD if problems else Seen.GOOD
            missing = unheard or silent
            return Element(
                id=machine.name,
                state=Seen.UNKNOWN if missing else state,
                why=f"{missing}; {_NOT_LATE}" if missing else "; ".join(problems),
                last=state if missing else None,
                since_ms=0 if missing or problems else since_ms,
            )
        never = "" if status else "; it has never told how it is"
        doubt = view.why if view else ""
        twice = not silent and (contact is Contact.LOST or (unheard and not doubt))
        words = f"out of contact, and {unheard}" if unheard else _CONTACT_WORDS[contact]
        why = doubt or silent or words
        return Element(
            id=machine.name,
            state=Seen.BAD if twice else Seen.UNKNOWN,
            why=f"{why}{never}",
            last=(Seen.BAD if machine_problems(status) else Seen.GOOD) if status else None,
            since_ms=since_ms,
        )

    def _since_ms(self, name: str, seconds: float) -> int:
        """Return since when it is so; as was said before, if that is about the same."""
        since, known = self._now_ms - round(seconds * 1000), self._before.get(name, 0)
        return known if abs(known - since) < _SAME_MS else since

    # ---- the outside -----------------------------------------------------------------------

    def _aggregate(self, row: AggregateRow, datacenter: str) -> AggregateElement:
        """Return what the edges of a datacenter say of an aggregate together."""
        needed = (row.prefix, datacenter) in self._needed
        words = [_said(word, row.prefix, needed) for word in row.edges]
        for state in (Seen.GOOD, Seen.UNKNOWN, Seen.BAD):
            for word in words:
                if word.state is state:
                    return word
        return AggregateElement(id=row.prefix, state=Seen.UNKNOWN, why="no edge of ours")

    def sessions(self) -> Iterator[SessionElement]:
        """Yield the sessions with the outside, by edge."""
        for row in session_rows(self._snapshot, self._now_ms):
            yield SessionElement(
                id=f"{row.session}/{row.family}",
                state=_session_state(row),
                why=_session_words(row),
                last=self._last_of(row) if row.state == UNKNOWN else None,
                peer=row.peer,
                edge=row.edge,
                imported=row.imported,
                exported=row.exported,
                filtered=row.filtered,
                rejects=row.rejects,
            )

    def _last_of(self, row: SessionRow) -> Seen | None:
        status = self._snapshot.statuses.get(row.edge)
        name = f"peer.{row.session.partition('@')[0]}.{row.family}"
        for each in status.sessions if status else ():
            if each.name == name and each.known:
                return Seen.GOOD if each.up else Seen.BAD
        return None

    def peers(self, sessions: Iterable[SessionElement]) -> Iterator[PeerElement]:
        """Yield the neighbours in spec order."""
        of: defaultdict[str, list[SessionElement]] = defaultdict(list)
        for session in sessions:
            of[session.peer].append(session)
        for peer in self._platform.peers:
            states = [each.state for each in of[peer.name]]
            state = next((s for s in (Seen.BAD, Seen.UNKNOWN) if s in states), Seen.GOOD)
            if states and set(states) == {Seen.PLANNED}:
                state = Seen.PLANNED
            yield PeerElement(
                id=peer.name,
                state=state,
                kind=peer.kind.value,
                asn=peer.asn,
                up=sum(s in {Seen.GOOD, Seen.PLANNED} for s in states),
                down=states.count(Seen.BAD),
                unknown=states.count(Seen.UNKNOWN),
            )

    def links(self) -> Iterator[LinkElement]:
        """Yield the backbone links in spec order, as their edges see them."""
        loads = {row.name: row for row in load_rows(self._snapshot)}
        for link in self._platform.links:
            load = loads.get(link.name)
            said, before = _ends(self._present, link), _ends(self._snapshot.statuses, link)
            state = _link_state(said)
            losses = [e.loss_percent for e in said.values() if e.loss_percent is not None]
            yield LinkElement(
                id=link.name,
                state=state,
                why=_link_words(link, said),
                last=_link_state(before) if state is Seen.UNKNOWN and before else None,
                a=link.a,
                b=link.b,
                kind=link.kind.value,
                rtt_us=max((each.rtt_us for each in said.values()), default=0),
                loss_percent=max(losses, default=None),
                received_bps=load.received_bps if load else None,
                sent_bps=load.sent_bps if load else None,
                capacity_bps=link.capacity_mbps * 10**6,
            )

    def fabrics(self) -> Iterator[FabricElement]:
        """Yield the fabrics in spec order, as machines hear each other over them."""
        statuses = self._snapshot.statuses
        return fabric_elements(self._platform, statuses, self._present, self.silent)

    # ---- services and hands ----------------------------------------------------------------

    def services(self, loads: Mapping[str, Sequence[str]]) -> Iterator[ServiceElement]:
        """Yield the services by name; `loads` says what each has to do."""
        return service_elements(self._snapshot, self._counts, loads, self._now_ms)

    def hands(self) -> Iterator[Concern]:
        """Yield what operators have done for a while."""
        done = self._done
        if freeze := done.freeze:
            yield Concern(
                id="freeze",
                about="",
                sentence=f"no route is changed{signed(freeze.why, freeze.by)}",
                since_ms=freeze.since_ms,
                command="pltfrms network unfreeze",
            )
        for drain in done.drains:
            phase = drain_word(done, drain.about, self._now_ms)
            yield Concern(
                id=f"drain {drain.about}",
                about=drain.about,
                sentence=f"drain: {phase}{signed(drain.why, drain.by)}",
                since_ms=drain.since_ms,
                until_ms=drain.until_ms,
            )
        for hole in done.blackholes:
            yield Concern(
                id=f"blackhole {hole.prefix}",
                about=str(hole.prefix),
                sentence=f"peers are asked to drop it{signed(hole.why, hole.by)}",
                until_ms=hole.until_ms,
                command=f"pltfrms network blackhole remove {hole.prefix}",
            )
        for release in done.releases:
            yield Concern(
                id=f"release {release.datacenter}",
                about=release.datacenter,
                sentence=f"no brake on {released(release)}{signed(release.why, release.by)}",
                until_ms=release.until_ms,
                command=f"pltfrms brake hold {release.datacenter}",
            )


def _ends(statuses: Mapping[str, MachineStatus], link: Link) -> dict[str, LinkStatus]:
    """Return what each end says of a link, as far as it does."""
    said = {
        end: statuses[end].links.get(link.name) for end in (link.a, link.b) if end in statuses
    }
    return {end: word for end, word in said.items() if word}


def _link_state(said: Mapping[str, LinkStatus]) -> Seen:
    if not said:
        return Seen.UNKNOWN
    return Seen.GOOD if all(each.up for each in said.values()) else Seen.BAD


def _link_words(link: Link, said: Mapping[str, LinkStatus]) -> str:
    if not said:
        return f"neither {link.a} nor {link.b} says how it is"
    return "; ".join(
        f"{end} gets no answer from {link.far_end(end)}" for end in said if not said[end].up
    )


def _said(word: EdgeWord, prefix: str, needed: bool) -> AggregateElement:  # noqa: FBT001
    """Return what one edge says of an aggregate that is needed there, or not."""
    known = {"announced": Seen.GOOD, "not announced": Seen.BAD if needed else Seen.GOOD}
    last = next((known[said] for said in known if word.reason.endswith(f" {said}")), None)
    state = known.get(word.state, Seen.UNKNOWN)
    return AggregateElement(
        id=prefix,
        state=state,
        why=f"{word.state}: {word.reason}",
        last=last if state is Seen.UNKNOWN else None,
    )


def _worst(elements: Iterable[Element]) -> tuple[Seen, Seen | None]:
    """Return the worst state, and what was last of those that are not known."""
    found = list(elements)
    states = [each.state for each in found]
    state = next((s for s in (Seen.BAD, Seen.UNKNOWN) if s in states), Seen.GOOD)
    lasts = [each.last for each in found if each.last]
    return state, Seen.BAD if Seen.BAD in lasts else next(iter(lasts), None)


def _session_state(row: SessionRow) -> Seen:
    if row.drain is not DrainPhase.NONE and row.state == "up":
        return Seen.PLANNED
    return _UP.get(row.state, Seen.UNKNOWN)


def _session_words(row: SessionRow) -> str:
    if row.state == UNKNOWN:
        return row.detail.removeprefix(NOT_KNOWN) or "its edge cannot be asked"
    drain = f"drained: {row.drain.value}" if row.drain is not DrainPhase.NONE else ""
    return "; ".join(part for part in (drain, row.detail) if part)


def _needed(
    snapshot: Snapshot, counts: Mapping[str, Mapping[str, Counts]]
) -> set[tuple[str, str]]:
    """Return which aggregates should be announced in which datacenters."""
    platform = snapshot.platform
    found = {
        (str(each.prefix), place.name)
        for each, place in product(platform.aggregates, platform.datacenters)
        if each.unicast or each.announce is AnnouncePolicy.ALWAYS
    }
    for name, places in counts.items():
        for prefix, each in product(snapshot.services[name].prefixes, platform.aggregates):
            if contains(each.prefix, prefix):
                found |= {(str(each.prefix), place) for place in places}
    return found
