"""Platforms as controllers draw them: at rest, in trouble, full of markup, and large."""

import json
from dataclasses import replace
from itertools import pairwise

from pltfrms.codec import decode, encode
from pltfrms.model.messages.api import Event
from pltfrms.model.messages.picture import (
    ClientElement,
    Concern,
    Counts,
    DatacenterElement,
    EdgeElement,
    FabricElement,
    Headline,
    JobElement,
    Level,
    LinkElement,
    MachineElement,
    NodeFigures,
    PeerElement,
    Picture,
    RoleElement,
    RunElement,
    Seen,
    ServiceElement,
    SessionElement,
    VolumeElement,
)
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.running.state import Contact
from pltfrms.model.running.vantage import ClientVerdict
from tests.cli.world import NOW_MS
from tests.seen.test_picture import WHOLE, seen, unheard

HEALTHY_PICTURE = seen(WHOLE)
MARKUP = "\"'><img src=x onerror=alert(1)><script>alert(2)</script><b>{@html 3}</b>"
_WORDS_OF_OURS = {"state", "last", "level"}
"""Fields that have one of a few words."""


def in_trouble() -> Picture:
    """Return what it is when an edge died, ams lost contact, and a peer is drained."""
    drain = Drain(
        peer="transit1", edge="lon-e1", since_ms=NOW_MS - 600_000, wait_ms=0, why="new optics"
    )
    silent = [m.name for m in WHOLE.platform.machines if m.datacenter == "ams"]
    state = unheard(WHOLE, "fra-e1", contact=Contact.LOST)
    state = unheard(state, *silent)
    picture = seen(replace(state, interventions=Interventions(drains=(drain,))))
    return replace(
        picture,
        headline=replace(picture.headline, clients="clients: web is partly served"),
        clients=(client("web", Seen.BAD, "partly"),),
    )


def client(service: str, state: Seen, served: str) -> ClientElement:
    """Return a service as vantage points see it."""
    return ClientElement(
        id=service,
        state=state,
        why="" if state is Seen.GOOD else f"a vantage point says why: {served}",
        served=served,
        asked_from=() if state is Seen.UNKNOWN else ("ams", "berlin"),
        answered_by={"berlin": ("ams", "fra")} if served in {"served", "partly"} else {},
        missed_from={"partly": ("ams",), "not served": ("ams", "berlin")}.get(served, ()),
    )


GIB = 2**30


def in_charge() -> Picture:
    """Return a platform with a database, whose writer is not known, and with jobs."""
    (web,) = HEALTHY_PICTURE.services
    backup = _backup()
    never = JobElement(id="job/move", state=Seen.GOOD, why="it has not run yet", version=1)
    problem = Concern(
        id="1",
        about=backup.id,
        sentence="backup@8 on ams-n1 failed",
        since_ms=backup.runs[0].ended_ms,
        command="pltfrms job show backup",
    )
    database = _database(web)
    machines = tuple(
        replace(each, load=_figures(database)) if each.id == "fra-n1" else each
        for each in HEALTHY_PICTURE.machines
    )
    return replace(
        HEALTHY_PICTURE,
        machines=machines,
        services=(database, web),
        jobs=(never, backup),
        problems=(problem,),
    )


def _figures(database: ServiceElement) -> NodeFigures:
    """Return what is asked of the node with the full volume: one instance is measured."""
    return NodeFigures(
        heard=True,
        cpu_milli=4000,
        memory_bytes=8 * GIB,
        promised_milli=1500,
        promised_bytes=GIB,
        measured=1,
        used_milli=425,
        busiest="db.fra.1-1: at most 85 % of its cpu, 40 connections/s (in 3 h)",
        volumes=database.volumes[:1],
        volumes_more=2,
    )


def _database(web: ServiceElement) -> ServiceElement:
    reader = RoleElement(
        id="reader",
        state=Seen.GOOD,
        prefixes=("198.51.100.200/32",),
        holders={"db.ams.1-1": "ams-n1"},
        epoch=7,
        shared=True,
    )
    writer = RoleElement(
        id="writer",
        state=Seen.UNKNOWN,
        last=Seen.GOOD,
        why="db.fra.1-1 had its role writer, and is not heard now",
        prefixes=("198.51.100.129/32",),
        unheard=("db.fra.1-1",),
    )
    full = VolumeElement(
        id="db.fra.1@3",
        state=Seen.BAD,
        why="98 % full",
        node="fra-n1",
        bytes=39 * GIB // 4,
        size_bytes=10 * GIB,
        limited=True,
    )
    return replace(
        web,
        id="db",
        state=Seen.UNKNOWN,
        load="0.42 cores (measured in 3 h)",
        busiest="db.fra.1-1 on fra-n1: at most 85 % of its cpu, 40 connections/s (in 3 h)",
        promised="0.5 cores and 512 MiB of memory each",
        roles=(reader, writer),
        volumes=(full, VolumeElement(id="db.ams.1@1", state=Seen.UNKNOWN, node="ams-n1")),
        volumes_more=3,
    )


def _backup() -> JobElement:
    """Return a job that ran well two hours ago, and failed an hour ago."""
    ill = "it ended with another exit code than 0; exit code 3"
    runs = tuple(
        RunElement(
            id=f"backup@{number}",
            state=state,
            why=why,
            word=word,
            node="ams-n1",
            began_ms=NOW_MS - 3_600_000 * hours,
            ended_ms=NOW_MS - 3_600_000 * hours + 60_000,
        )
        for number, hours, state, word, why in (
            (8, 1, Seen.BAD, "failed", ill),
            (7, 2, Seen.GOOD, "succeeded", "it ended with exit code 0"),
        )
    )
    return JobElement(
        id="job/backup",
        state=Seen.BAD,
        why=ill,
        version=2,
        schedule="0 * * * * (UTC)",
        next_ms=NOW_MS + 600_000,
        datacenters=("ams",),
        runs=runs,
    )


def asked_as_clients() -> Picture:
    """Return a platform of four services, each of which serves its clients otherwise."""
    services = tuple(map(_service, range(4)))
    said = zip(ClientVerdict, (Seen.GOOD, Seen.BAD, Seen.BAD, Seen.UNKNOWN), strict=True)
    clients = (client(f"service{n}", state, word) for n, (word, state) in enumerate(said))
    return replace(HEALTHY_PICTURE, services=services, clients=tuple(clients))


def full_of_markup(picture: Picture) -> Picture:
    """Return a picture in which every text has markup in it."""
    return decode(Picture, json.dumps(_marked(json.loads(encode(picture)))).encode())


def hostile_event() -> Event:
    """Return an event of which every text is markup."""
    return Event(
        sequence=1,
        at_ms=NOW_MS,
        source=MARKUP,
        about=MARKUP,
        what=MARKUP,
        reason=MARKUP,
        detail=MARKUP,
    )


def _marked(value: object, name: str = "") -> object:
    if isinstance(value, dict):
        fixed = name in {"", "headline"}  # names of fields, not of things
        return {
            key if fixed or key in _FIELDS else f"{key}{MARKUP}": _marked(each, key)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_marked(each, "" if isinstance(each, dict) else name) for each in value]
    if isinstance(value, str) and name not in _WORDS_OF_OURS:
        return f"{value}{MARKUP}"
    return value


_FIELDS = {"wanted", "ready", "unknown"}


SITES = [f"dc{number}" for number in range(5)]
NODES, SERVICES, REPLICAS, JOBS = 200, 2000, 10, 200
"""Of a large platform: nodes in each datacenter; services, and replicas of each over all."""
_HERE = SERVICES * REPLICAS // len(SITES)
_EDGES = [(site, f"{site}-e{number}") for site in SITES for number in range(1, 5)]
_PEERS = [f"transit{number}" for number in range(10)]


def large() -> Picture:
    """Return a platform of 1 000 nodes and 20 000 replicas."""
    return Picture(
        platform="large",
        controller="dc0-c1",
        revision=1,
        headline=Headline(level=Level.FINE, sentence="all is well"),
        datacenters=tuple(
            DatacenterElement(id=site, state=Seen.GOOD, wanted=_HERE, ready=_HERE)
            for site in SITES
        ),
        edges=tuple(EdgeElement(id=e, state=Seen.GOOD, datacenter=site) for site, e in _EDGES),
        machines=tuple(_node(site, number) for site in SITES for number in range(NODES)),
        peers=tuple(
            PeerElement(
                id=peer, state=Seen.GOOD, kind="transit", asn=64600, up=40, down=0, unknown=0
            )
            for peer in _PEERS
        ),
        sessions=tuple(
            SessionElement(id=f"{peer}@{edge}/{v}", state=Seen.GOOD, peer=peer, edge=edge)
            for peer in _PEERS
            for _, edge in _EDGES
            for v in ("ipv4", "ipv6")
        ),
        links=tuple(
            LinkElement(id=f"{a}--{b}", state=Seen.GOOD, a=a, b=b, kind="direct", rtt_us=9000)
            for (_, a), (_, b) in pairwise(_EDGES)
        ),
        fabrics=tuple(
            FabricElement(id=f"{site}/{name}", state=Seen.GOOD, datacenter=site)
            for site in SITES
            for name in "ab"
        ),
        services=tuple(map(_service, range(SERVICES))),
        clients=tuple(client(f"service{n}", Seen.GOOD, "served") for n in range(SERVICES)),
        jobs=tuple(replace(_backup(), id=f"job/backup{n}") for n in range(JOBS)),
    )


def _node(site: str, number: int) -> MachineElement:
    return MachineElement(
        id=f"{site}-n{number}",
        state=Seen.GOOD,
        datacenter=site,
        roles=("node",),
        instances=_HERE // NODES,
        ready=_HERE // NODES,
        load=NodeFigures(
            heard=True,
            cpu_milli=64_000,
            memory_bytes=256 * GIB,
            promised_milli=20_000,
            promised_bytes=20 * GIB,
            measured=_HERE // NODES,
            used_milli=12_345,
            busiest=f"service{number}.{site}.1-1: at most 85 % of its cpu (in 3 h)",
        ),
    )


def _service(number: int) -> ServiceElement:
    return ServiceElement(
        id=f"service{number}",
        state=Seen.GOOD,
        version=1,
        prefixes=(f"198.51.{100 + number // 256}.{number % 256}/32",),
        wanted=REPLICAS,
        ready=REPLICAS,
        places={site: Counts(wanted=2, ready=2) for site in SITES},
        roles=(
            RoleElement(
                id="writer", state=Seen.GOOD, holders={f"service{number}.dc0.1-1": "dc0-n1"}
            ),
        )
        if number % 10 == 0
        else (),
    )
