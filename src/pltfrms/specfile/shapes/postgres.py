"""The shape of a service file with `postgres:`. The docstrings are what editors show."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from pltfrms.specfile.shapes.service import (
    CapacityShape,
    EgressEntry,
    EgressShape,
    ReplicasShape,
    RolloutShape,
    WordsText,
)
from pltfrms.specfile.shapes.shapes import Shape
from pltfrms.specfile.shapes.units import (
    AddressText,
    Bytes,
    Milliseconds,
    Moment,
    default,
    one_of,
    said,
    some,
    wrong,
)

VERSIONS = (15, 17)
DURABILITIES = ("async", "quorum", "strict")
FAILOVERS = ("patient", "fast")
_LOST_AFTER_MS = 30 * 60_000
_MIB = 1024 * 1024


def _as_version(value: object) -> object:
    if value not in VERSIONS or isinstance(value, bool | float):
        known = " and ".join(map(str, VERSIONS))
        raise wrong(f"{value!r} is no version that there is", f"known: {known}")
    return value


VersionNumber = Annotated[
    int, PlainValidator(_as_version), WithJsonSchema({"enum": list(VERSIONS)})
]
ParameterValue = bool | int | float | str


class ReaderShape(Shape):
    """Who may be read from at the address of the role `reader`."""

    max_lag: Bytes = default(16 * _MIB, "16MiB")
    """How far a replica may be behind what the primary has written, in bytes of its log."""


class DatabaseShape(Shape):
    """A database that is made if it is not there. None is ever deleted."""

    owner: str
    """The user that it belongs to, who is made, too."""


class BackupShape(Shape):
    """A bucket of a place that speaks as Amazon's S3 does.

    Who we are there is the secret SERVICE-backup (ID:SECRET). All is encrypted with the secret
    SERVICE-cipher.
    """

    endpoint: str
    """Where it is, such as https://s3.example.net. Its certificate is checked."""
    bucket: str
    """The bucket, which has to be there."""
    region: str = "us-east-1"
    """What the place calls its region."""
    prefix: str = "postgres"
    """What names of ours begin with; services may share it."""
    style: Annotated[str, *one_of("path", "host")] = "path"
    """path (HOST/BUCKET) or host (BUCKET.HOST)."""
    ca: str = ""
    """A file on every node with the certificates that are believed. By default those that the
    machine believes."""
    keep: int = 4
    """So many full backups stay, with all that was written since the oldest of them."""


class RestoreShape(Shape):
    """What a new database begins with: another one, as it was at a moment."""

    service: str
    """The service whose backups are read, from the place that `backup` says, with its secrets
    SERVICE-backup and SERVICE-cipher. It is not changed, and need not exist any more."""
    at: Moment | None = None
    """What it was at that time, such as 2030-01-31T18:00:00Z: nothing later is there. By
    default all that is in the backups."""


class PostgresShape(Shape):
    """PostgreSQL with Patroni, which decides who is primary."""

    version: VersionNumber
    """Major version: 15 with Debian 12, 17 with Debian 13."""
    size: Bytes
    """How much disk each replica may have, such as 200GiB."""
    lost_after: Milliseconds = default(_LOST_AFTER_MS, "30m")
    """A node that is lost for so long is taken to have lost its data: its replica begins
    elsewhere, as a copy of the others."""
    durability: Annotated[str, *one_of(*DURABILITIES)] = "quorum"
    """When a commit is acknowledged: async (the primary has it: what is acknowledged may be
    lost with its datacenter), quorum (another replica has it, too; alone, the primary goes on
    without), or strict (as quorum; alone, it waits)."""
    failover: Annotated[str, *one_of(*FAILOVERS)] = "patient"
    """When another replica may become primary: patient (when the lease of the old one is over,
    20 s after its last word), or fast (also as soon as its instance has ended, or its
    machine is known to be lost)."""
    promote: list[str] = some()
    """Datacenters whose replicas may become primary, such as [fra]. By default all."""
    prefer: list[str] = some()
    """In which datacenters the primary is elected first, the best one first, of those that are
    equally far."""
    reader: ReaderShape = Field(default_factory=ReaderShape)
    """Who has the role reader."""
    clients: list[str] = some()
    """Who may ask, instead of everybody: as in `ports`, such as [service:shop]."""
    databases: dict[str, DatabaseShape] = Field(default_factory=dict)
    """Databases that are made, by name: {shop: {owner: app}}."""
    users: list[str] = some()
    """Further users that are made, beside the owners of databases. The password of each is the
    secret SERVICE-USER."""
    parameters: dict[str, ParameterValue] = Field(default_factory=dict)
    """Settings of PostgreSQL, such as {max_connections: 200, work_mem: 16MB}."""
    backup: BackupShape | None = None
    """Where backups go, and every segment of its log within a minute. Jobs make the backups."""
    restore: RestoreShape | None = None
    """What it begins with, in place of nothing. Of no meaning once it has data."""
    cpu: float = 1.0
    """Cores promised to one replica."""
    memory: Bytes = default(1024 * _MIB, "1GiB")
    """Memory promised to one replica. A quarter of it is PostgreSQL's cache."""


class PostgresServiceShape(Shape):
    """A database: a service that `postgres` says most of."""

    service: str
    """Name of the service. Its roles are `writer` and `reader`, each with an address."""
    postgres: PostgresShape
    """The database."""
    replicas: ReplicasShape
    """How many copies, and where."""
    egress: EgressEntry = Field(default_factory=EgressShape)
    """What its instances may reach in the internet, as for any service."""
    aggregate: WordsText = some()
    """Which aggregate its addresses come from, by prefix or name; one of each family at most.
    By default the first that all datacenters announce."""
    addresses: list[AddressText] = some()
    """Exactly what it answers on, instead of addresses that we choose."""
    group: str = said()
    """What it belongs to, such as shop."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further words about it, such as {team: edge}."""
    capacity: CapacityShape | None = None
    """What its replicas can answer, and are to answer."""
    rollout: RolloutShape | None = None
    """How a new version comes to the replicas, if not as usual."""

    stand_ins: ClassVar[dict[str, Any]] = {
        "service": "unknown",
        "postgres": {"version": VERSIONS[0], "size": "1GiB"},
        "replicas": {"per_datacenter": 1},
    }
