"""The shape of `service.yaml`: fields, types, units. The docstrings are what editors show."""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field

from pltfrms.model.services.container import CAPABILITIES, Container
from pltfrms.model.services.hooks import HookMoment, InstanceHook
from pltfrms.model.services.outgoing import EgressMode
from pltfrms.model.services.service import (
    Compare,
    Probe,
    ProbeKind,
    RolloutSpec,
    Run,
    ServiceSpec,
)
from pltfrms.specfile.shapes.probe import LivenessShape, ProbeShape, RoleShape
from pltfrms.specfile.shapes.secret import ModeText, SecretShape, StoreShape
from pltfrms.specfile.shapes.shapes import Shape
from pltfrms.specfile.shapes.units import (
    AddressText,
    Bytes,
    Milliseconds,
    PerSecond,
    default,
    one_of,
    port_text,
    said,
    some,
    wrong,
)

_RUN = Run(process=())
_BOX = Container(image="")
_PROBE = Probe(kind=ProbeKind.TCP)
_ROLLOUT = RolloutSpec()
_COMPARE = Compare(path="/")
_SERVICE = ServiceSpec(name="", run=_RUN, probe=_PROBE, per_datacenter=1)
_MIB = 1024 * 1024
_HOOK = InstanceHook(moment=HookMoment.JOIN, command=())


def _as_words(value: object) -> object:
    return [value] if isinstance(value, str) else value


WordsText = Annotated[
    list[str], BeforeValidator(_as_words, json_schema_input_type=str | list[str])
]


def _as_user(value: object) -> object:
    number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if number else value


UserText = Annotated[str, BeforeValidator(_as_user, json_schema_input_type=int | str)]


class ZonesShape(Shape):
    """The DNS zones of all services, for a name server that answers for them."""

    reload: WordsText
    """Command that is run inside the instance whenever they are others, such as
    [nsd-control, -c, nsd.conf, reload]."""
    servers: list[str] = some()
    """Further name servers, beside the service itself, such as a secondary elsewhere."""


class IoShape(Shape):
    """What an instance may do to the disk that its node keeps its state on, in a second."""

    read: Bytes = default(0, "no limit")
    """Such as 50MiB; at least 64KiB."""
    write: Bytes = default(0, "no limit")
    """Likewise."""
    reads: int = default(0, "no limit")
    """How often it may read, such as 500."""
    writes: int = default(0, "no limit")
    """How often it may write."""


AddressesText = Annotated[
    list[AddressText],
    BeforeValidator(_as_words, json_schema_input_type=str | list[str]),
]


class ElsewhereShape(Shape):
    """Where what others start is, if it is not in the network namespace of the node.

    The address of a machine or a container that the node reaches without a gateway.
    """

    address: AddressesText = some()
    """One, or one of each family, behind every node: [192.168.122.10, "fd00:122::10"]."""
    nodes: dict[str, AddressesText] = Field(default_factory=dict, min_length=1)
    """Or by node: {fra-n1: 192.168.122.10, fra-n2: 192.168.122.17}. Only these have it."""


def _as_elsewhere(value: object) -> object:
    if value is True:
        return {}
    if not value:
        raise wrong(f"{value!r} says nothing".lower(), "true, an address, or leave it out")
    return value


ExternalEntry = Annotated[
    ElsewhereShape,
    BeforeValidator(_as_elsewhere, json_schema_input_type=bool | ElsewhereShape),
]


class RunShape(Shape):
    """How an instance is started: exactly one of process, image, external and systemd."""

    process: list[str] | None = None
    """Command and arguments; the working directory is the instance's own. ${pltfrms.instance},
    service, datacenter, node, replica, prefix4, prefix6, address4 and address6 are replaced
    here, in `command`, `args`, `files` and `environment`, and so are prefix4, prefix6, address4
    and address6 of another service as ${pltfrms.service.NAME.address6}. With volumes, there are
    replica.name, replica.address4 and replica.address6, which a replica has for life."""
    image: str | None = None
    """Instead of `process`: a container of this image, with its registry and its digest, such
    as registry.example/shop/web@sha256:…, or with a tag, whose digest `apply` asks for."""
    external: ExternalEntry | None = None
    """Instead: true for what others start in the network namespace of the node. It is probed on
    its service addresses, which are put on the node, announced, balanced and drained. With
    {address: 192.168.122.10} it is in a machine or a container behind the node."""
    systemd: str = said()
    """Instead: the same for a service of systemd, such as unbound.service, which must also be
    active. It is never started or stopped."""
    command: WordsText = some()
    """Program of a container, in place of the image's entrypoint."""
    args: list[str] = some()
    """Arguments of a container, in place of the image's."""
    user: UserText = ""
    """UID or UID:GID of a container. By default the image's."""
    read_only: bool = _BOX.read_only
    """Whether a container cannot write to its root; to /tmp, /run and /dev/shm it always can.
    With false, what it writes is lost when it ends. Both is in memory, and counts as such."""
    capabilities: list[Annotated[str, *one_of(*CAPABILITIES)]] = Field(default_factory=list)
    """What a container may do beyond what any user may. By default nothing."""
    ulimits: dict[str, int] = Field(default_factory=dict)
    """Limits of each process of a container: core, fsize, memlock, nofile, nproc, stack."""
    files: dict[str, str] = Field(default_factory=dict)
    """Files to write into the working directory before the start: name and text. A container
    finds them in /run/pltfrms."""
    files_from: str = said()
    """A directory beside the file of the spec, such as conf: its files are more `files`,
    those that are no text `binary`, and who may execute them is among `modes`."""
    binary: dict[str, str] = Field(default_factory=dict)
    """More files that are no text: name and content in base64."""
    modes: dict[str, ModeText] = Field(default_factory=dict)
    """Modes of files by name, such as {run.sh: "0755"}; by default 0644."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Environment variables."""
    secrets: dict[str, SecretShape] = Field(default_factory=dict)
    """Secrets, by name, that `pltfrms secret set` has given a value:
    {db-password: {variable: DB_PASSWORD}}."""
    zones: ZonesShape | None = None
    """For a name server: `zones/DOMAIN.zone` in the working directory, one for the names of all
    services and some for their addresses, and `zones/nsd.conf` that lists them for NSD. They
    follow what runs, and need no controller. A container has them in /run/pltfrms/zones."""
    peers_signal: Annotated[str, *one_of("HUP", "USR1", "USR2")] = said()
    """With volumes: which signal (HUP, USR1 or USR2) an instance gets when its `peers.json` is
    another one. By default none."""
    store: StoreShape | None = None
    """A part of the platform's store, as of etcd: {secret: db-store}. Where and how it is asked
    is in `store.json` in the working directory, and whom to believe in `store-roots.pem`."""
    cpu: float = _RUN.cpu
    """Cores promised to one instance."""
    memory: Bytes = default(_RUN.memory_bytes, f"{_RUN.memory_bytes // _MIB}MiB")
    """Memory promised to one instance, such as 64MiB."""
    io: IoShape | None = None
    """What it may do to its node's disk in a second, such as {write: 20MiB, writes: 500}. Where
    a node cannot hold it to that, its status says so."""
    stop_grace: Milliseconds = default(_RUN.stop_grace_ms, f"{_RUN.stop_grace_ms}ms")
    """Time between the polite and the hard end of an instance; with volumes by default 2m."""


_Count = Annotated[
    int, Field(description="Exact number of replicas in the datacenter of this name.")
]


class InstanceHookShape(Shape):
    """A command that is run inside an instance."""

    run: WordsText
    """Command and arguments; exit code 0: it has done what it is for. It may be run again."""
    timeout: Milliseconds = default(_HOOK.timeout_ms, f"{_HOOK.timeout_ms // 1000}s")
    """Who takes longer has failed."""


class HooksShape(Shape):
    """What is run, and when. While one runs, or fails, what is planned waits."""

    hand_over: InstanceHookShape | None = None
    """Before who has a role that one alone may have is ended as planned, and when its node or
    datacenter is drained. Afterwards it must not have the role any more."""
    join: InstanceHookShape | None = None
    """When an instance is ready for the first time, as this agent knows."""
    leave: InstanceHookShape | None = None
    """Before a replica is ended that is wanted no more."""


class ReplicasShape(Shape):
    """How many copies, and where.

    per_datacenter, a number for each datacenter by name ({fra: 4, ams: 2}), both (the names are
    exceptions), or total.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, _Count] = Field(init=False)

    per_datacenter: int | None = None
    """Exact number of replicas in each datacenter that is not named with another one."""
    total: int | None = None
    """Exact number in all datacenters, instead: spread evenly, as far as their nodes have room
    for them. Failures and drains do not change what each of them has."""
    datacenters: list[str] = Field(default_factory=list)
    """Where it runs; by default in every datacenter that has nodes."""
    max_per_node: int = 1
    """At most this many of them on one node."""
    nodes: list[str] = some()
    """Which nodes have what others start (`external`, `systemd`). By default any may."""


class EgressShape(Shape):
    """How instances reach the internet."""

    mode: Annotated[str, *one_of(*EgressMode)] | None = None
    """none, datacenter (IPv6 from an own address; IPv4 from their node's, by translation; only
    answers come in), or own (an own address in both families, to which everybody may speak).
    By default datacenter where the platform has a unicast prefix, else none."""
    allow: list[str] = Field(default_factory=list)
    """All that they may reach: prefixes (198.18.0.0/15), ports (443/tcp), or both with a space
    between them. By default everything."""


def _as_egress(value: object) -> object:
    return {"mode": value} if isinstance(value, str) else value


EgressEntry = Annotated[
    EgressShape,
    BeforeValidator(_as_egress, json_schema_input_type=str | EgressShape),
]


class StageShape(Shape):
    """A part of the replicas that gets a new version before the next part does."""

    datacenters: list[str]
    """Where they are."""
    replicas: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many of each of these datacenters. By default all."""


def _as_stage(value: object) -> object:
    if isinstance(value, str):
        return {"datacenters": [value]}
    return {"datacenters": value} if isinstance(value, list) else value


StageEntry = Annotated[
    StageShape,
    BeforeValidator(_as_stage, json_schema_input_type=str | list[str] | StageShape),
]


class CompareShape(Shape):
    """A request whose answers of the new version must be no worse than those of the old."""

    http: str
    """Path to GET of instances of both versions while a stage bakes; any 2xx or 3xx answer is
    good. It is asked inside the instances, beside their probe, on every address."""
    port: int | None = None
    """TCP port; by default that of the probe, with its TLS, host and headers."""
    interval: Milliseconds = default(_COMPARE.interval_ms, f"{_COMPARE.interval_ms}ms")
    """Time between two requests to one instance."""
    timeout: Milliseconds = default(_COMPARE.timeout_ms, f"{_COMPARE.timeout_ms // 1000}s")
    """A request that takes longer has failed."""
    samples: int = _COMPARE.samples
    """Requests to each version of which less says nothing: until so many are known, the stage
    bakes on. It does not wait for a version before of which nothing serves any more."""
    errors: int = _COMPARE.errors_percent
    """The new version fails if more requests fail than of the old one, by more percentage
    points than this, and at least 3."""
    times: float = _COMPARE.times
    """The new version fails if its p95 is more than this times that of the old one..."""
    margin: Milliseconds = default(_COMPARE.margin_ms, f"{_COMPARE.margin_ms}ms")
    """... and higher by more than this."""


class RolloutShape(Shape):
    """How a new version comes to the replicas."""

    stages: list[StageEntry] = some()
    """One after the other: a datacenter, a list of them, or {datacenters: [fra], replicas: 1}.
    By default one replica, the rest of its datacenter, then the other datacenters one by one.
    What no stage names comes with the last one."""
    bake: Milliseconds = default(_ROLLOUT.bake_ms, f"{_ROLLOUT.bake_ms // 1000}s")
    """How long a complete stage must stay ready before the next one begins, 0s to 24h. If it
    does not, the service goes back to the version before."""
    parallel: int = _ROLLOUT.parallel
    """Replicas of a datacenter that are replaced at once, each by a new one first."""
    compare: CompareShape | None = None
    """What to ask both versions while a stage bakes: {http: /} is enough. If the new one
    answers worse, the service goes back. By default nothing."""
    trial: bool = True
    """Whether a new or changed probe is first asked of the instances that run: a version whose
    probe fails on all of them, or whose liveness would restart most, goes back before anything
    is started. Say false where only the new version can pass it."""


class AnsweredShape(Shape):
    """A port on which the service answers."""

    port: Annotated[str, BeforeValidator(port_text)]
    """Such as 80/tcp."""
    clients: list[str] = some()
    """Who may ask, instead of everybody: prefixes, the word internet (who is none of ours), and
    service:NAME (its instances, over IPv6)."""


def _as_port(value: object) -> object:
    return value if isinstance(value, dict) else {"port": value}


PortEntry = Annotated[
    AnsweredShape,
    BeforeValidator(_as_port, json_schema_input_type=str | AnsweredShape),
]


class CapacityShape(Shape):
    """What the replicas can answer, and are to answer: whether a loss is survived."""

    requests: PerSecond
    """What one replica can answer, such as 200/s."""
    load: PerSecond
    """What all of them together must be able to answer, such as 900/s at the busiest time. What
    a lost datacenter answered is taken to be spread over all that are left."""


class ScaleShape(Shape):
    """Within which bounds the load changes the number of replicas of each datacenter.

    More at once when it asks for them, one less every 5 minutes when it does not, never so
    few that the loss of a node or a datacenter could not be borne. Nothing changes during a
    rollout, or where not every instance says how busy it is. With both cpu and connections
    what asks for more replicas counts.
    """

    min: int
    """At least so many in each datacenter."""
    max: int
    """At most so many."""
    cpu: float | None = None
    """Share of the cores promised to them (`run.cpu`) that instances are to use on average,
    such as 0.7."""
    connections: PerSecond | None = None
    """New TCP connections that an instance is to accept on average, such as 150/s. These are
    requests where each has a connection of its own; the probe's count, too."""


class VolumeShape(Shape):
    """A directory that each replica keeps, whatever becomes of its instances."""

    path: str
    """Where an instance sees it, such as /var/lib/db. A process has to have it in /var/lib,
    /var/spool, /var/opt, /srv, /opt or /mnt; directories that are missing there are made."""
    size: Bytes
    """How much it may have in it, such as 10GiB: more is a problem in `status`. It is set as a
    project quota where the node's file system has these."""
    owner: UserText = ""
    """UID or UID:GID to whom it is given when it is made. By default root."""
    lost_after: Milliseconds | None = None
    """A node that is lost for so long is taken to have lost it: its replica begins elsewhere,
    with nothing. By default never: it waits for the node."""


class HostPathShape(Shape):
    """A file or directory of the machine that instances read."""

    source: str
    """Where the machine has it: an absolute path without symbolic links, which is in
    `allowed_host_paths` of the platform, or below one that is."""
    path: str | None = None
    """Where an instance sees it; by default at the same path."""


def _as_host_path(value: object) -> object:
    return {"source": value} if isinstance(value, str) else value


HostPathEntry = Annotated[
    HostPathShape,
    BeforeValidator(_as_host_path, json_schema_input_type=str | HostPathShape),
]


class ServiceShape(Shape):
    """What to run."""

    service: str
    """Name of the service."""
    run: RunShape
    """What one instance is: its command, its files, what it needs."""
    replicas: ReplicasShape
    """How many instances, and where they run."""
    ports: list[PortEntry] = Field(default_factory=list)
    """What it listens on: 80/tcp, or {port: 5432/tcp, clients: [service:api]}. On its addresses
    nothing else answers; without any, everything does."""
    egress: EgressEntry = Field(default_factory=EgressShape)
    """What its instances may reach in the internet, and from which address: none, datacenter,
    own, or {mode: ..., allow: [...]}. Services and infrastructure they always reach."""
    weight: int = _SERVICE.weight
    """Share of the traffic one instance gets, 1..64."""
    aggregate: WordsText = some()
    """Which aggregate its addresses come from, by prefix or name; one of each family at most.
    By default the first that all datacenters announce."""
    addresses: list[AddressText] = some()
    """Exactly what it answers on, instead of addresses that we choose; the first of a family is
    the main one. It keeps its addresses for life: write the new beside the old to move it."""
    drain: Milliseconds = default(_SERVICE.drain_ms, f"{_SERVICE.drain_ms // 1000}s")
    """Longest time that an instance which is to go keeps serving the connections it has, 0s to
    1h; it goes as soon as there are none."""
    probe: ProbeShape
    """How an instance is asked whether it can serve."""
    liveness: LivenessShape | None = None
    """How it is asked whether it lives. With it, who fails this is restarted, and who fails
    `probe` is only withdrawn until it succeeds again."""
    roles: dict[str, RoleShape] = Field(default_factory=dict)
    """Addresses that follow who says that it has a role, by name of the role: {writer: {http:
    /primary, port: 8008}}. Each has an address of each family for life."""
    group: str = said()
    """What it belongs to, such as shop: `apply DIR --prune group=shop` deletes what is not in
    the directory any more."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further words about it, such as {team: edge}; can be pruned by as well."""
    capacity: CapacityShape | None = None
    """What its replicas can answer, and are to answer."""
    batch: bool = _SERVICE.batch
    """It uses all the cpu that it may for as long as there is work: what it uses is then no
    reason to say that a loss is not survived."""
    scale: ScaleShape | None = None
    """Let the load change the number of replicas; it begins with what `replicas` says."""
    rollout: RolloutShape | None = None
    """How a new version comes to the replicas, if not as usual."""
    hooks: HooksShape | None = None
    """With volumes: commands that are run inside an instance that serves, before what is
    planned is done to it."""
    volumes: dict[str, VolumeShape] = Field(default_factory=dict)
    """Directories that each replica keeps on its node, by name: {data: {path: /var/lib/db,
    size: 10GiB}}. It goes where its volumes are, and a new version stops the old one first."""
    host_paths: list[HostPathEntry] = some()
    """What containers read of the machine's own files: a path, or {source: /srv/geo, path:
    /data/geo}. They cannot write there."""

    stand_ins: ClassVar[dict[str, Any]] = {
        "service": "unknown",
        "run": {"process": ["true"]},
        "replicas": {"per_datacenter": 1},
        "probe": {"tcp": 1},
    }
