"""What is where in the store, and how it is read.

/pltfrms/platform                   Platform
/pltfrms/interventions              Interventions; absent: none
/pltfrms/services/NAME              Service
/pltfrms/allocations/ID             Allocation
/pltfrms/numbers/REPLICA             LastNumber
/pltfrms/volumes/ID                 Volume
/pltfrms/secrets/NAME               StoredSecret
/pltfrms/jobs/NAME                  Job
/pltfrms/runs/ID                    JobRun
/pltfrms/secrets-key                SecretsKey; absent: there was never a secret
/pltfrms/commit                     who wrote last; every change of the keys above writes it
/pltfrms/machines/NAME/status       MachineStatus
/pltfrms/machines/NAME/contact      attached to the machine's lease
/pltfrms/machines/NAME/lost         while it is lost, and that has been told
/pltfrms/controllers/NAME           attached to the lease of the controller itself; says what
                                    keeps it from deciding, mostly nothing
/pltfrms-events/TIME-SOURCE-N       Event; apart, because nobody decides by it
/pltfrms-requests/ID                ChangeRequest; apart for the same reason
/pltfrms-versions/NAME/NUMBER       ServiceVersion; apart for the same reason
/pltfrms-seats/MACHINE              SeatRequest; has a lease
/pltfrms-waiting                    while an operator waits for plans to pause; has a lease
"""

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Generic, TypeVar, cast

from pltfrms.codec import decode, decode_fully
from pltfrms.drivers.store.ports import Condition, KeyValue, Listing, Put
from pltfrms.drivers.store.watching import changed_entries
from pltfrms.errors import UsageError
from pltfrms.model.messages.store import KindSize
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.plan import Allocation, LastNumber
from pltfrms.model.running.state import MachineStatus, MachineView, Snapshot
from pltfrms.model.running.volumes import Volume
from pltfrms.model.services.jobs import Job, JobRun
from pltfrms.model.services.secrets import SecretsKey, StoredSecret
from pltfrms.model.services.service import Service

PREFIX = "/pltfrms/"
PLATFORM_KEY = f"{PREFIX}platform"
INTERVENTIONS_KEY = f"{PREFIX}interventions"
COMMIT_KEY = f"{PREFIX}commit"
RECOVERING_KEY = f"{PREFIX}recovering"
"""While it is there no controller decides: the store lost its majority, and was recovered."""
LINEAGE_KEY = f"{PREFIX}lineage"
"""A word of each recovery of the store, the newest last."""
SERVICES = f"{PREFIX}services/"
ALLOCATIONS = f"{PREFIX}allocations/"
NUMBERS = f"{PREFIX}numbers/"
VOLUMES = f"{PREFIX}volumes/"
SECRETS = f"{PREFIX}secrets/"
JOBS = f"{PREFIX}jobs/"
RUNS = f"{PREFIX}runs/"
SECRETS_KEY_KEY = f"{PREFIX}secrets-key"
MACHINES = f"{PREFIX}machines/"
CONTROLLERS = f"{PREFIX}controllers/"
_INTENT = (SERVICES, ALLOCATIONS, NUMBERS, VOLUMES, SECRETS, JOBS, RUNS)
_KINDS = (*_INTENT, MACHINES, CONTROLLERS)
_SINGLE = (PLATFORM_KEY, INTERVENTIONS_KEY, COMMIT_KEY, LINEAGE_KEY, SECRETS_KEY_KEY)
EVENTS = "/pltfrms-events/"
REQUESTS = "/pltfrms-requests/"
VERSIONS = "/pltfrms-versions/"
SEATS = "/pltfrms-seats/"
IDENTITIES = "/pltfrms-identity/"
MACHINE_KEYS = f"{IDENTITIES}machines/"
TOKENS = f"{IDENTITIES}tokens/"
SIGNERS = f"{IDENTITIES}signers/"
ROOTS_KEY = f"{IDENTITIES}roots"
LOGINS_KEY = f"{IDENTITIES}logins"
WAITING_KEY = "/pltfrms-waiting"
AUDIT = "/pltfrms-audit/"
AUDIT_HEAD_KEY = "/pltfrms-audit-head"

_T = TypeVar("_T")
_KEY = attrgetter("key")
_STATUS = "/status"
_CONTACT = "/contact"
_LOST = "/lost"
_HEARD = "/heard"


def service_key(name: str) -> str:
    """Return the key of a service."""
    return f"{SERVICES}{name}"


def allocation_key(allocation: str) -> str:
    """Return the key of an allocation."""
    return f"{ALLOCATIONS}{allocation}"


def number_key(replica: str) -> str:
    """Return the key of the last number of a replica, such as `web.fra.1`."""
    return f"{NUMBERS}{replica}"


def volume_key(volume: str) -> str:
    """Return the key of a volume, such as of `db.fra.1@3`."""
    return f"{VOLUMES}{volume}"


def secret_key(name: str) -> str:
    """Return the key of a secret."""
    return f"{SECRETS}{name}"


def job_key(name: str) -> str:
    """Return the key of a job."""
    return f"{JOBS}{name}"


def run_key(run: str) -> str:
    """Return the key of a run, such as of `backup@7`."""
    return f"{RUNS}{run}"


def request_key(request: str) -> str:
    """Return the key of a change request."""
    return f"{REQUESTS}{request}"


def version_key(service: str, number: int) -> str:
    """Return the key of an earlier version of a service."""
    return f"{VERSIONS}{service}/{number:010d}"


def audit_key(number: int) -> str:
    """Return the key of a record of what operators did."""
    return f"{AUDIT}{number:010d}"


def seat_key(machine: str) -> str:
    """Return the key by which a machine asks to be a member of the store."""
    return f"{SEATS}{machine}"


def status_key(machine: str) -> str:
    """Return the key of what a machine's agent reports."""
    return f"{MACHINES}{machine}{_STATUS}"


def contact_key(machine: str) -> str:
    """Return the key that lives as long as the machine's lease."""
    return f"{MACHINES}{machine}{_CONTACT}"


def lost_key(machine: str) -> str:
    """Return the key that says that the loss of a machine has been told."""
    return f"{MACHINES}{machine}{_LOST}"


def heard_key(machine: str) -> str:
    """Return the key of the newest commit that a machine has heard of, after a recovery."""
    return f"{MACHINES}{machine}{_HEARD}"


def presence_key(controller: str) -> str:
    """Return the key that lives as long as a controller does."""
    return f"{CONTROLLERS}{controller}"


def commit_mark(name: str, now_ms: int) -> Put:
    """Return the write that every change of intent has in it: who writes, and when."""
    return Put(key=COMMIT_KEY, value=f"{name} at {now_ms}".encode())


def unchanged_since(revision: int) -> Condition:
    """Return the condition that nobody changed intent since the commit at `revision`."""
    return Condition(key=COMMIT_KEY, mod_revision=revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a listing says, decoded."""

    revision: int
    """Of the listing."""
    commit: int
    """Modification revision of the commit key; 0 before the first commit."""
    platform: Platform | None = None
    platform_revision: int = 0
    """Of the last commit that changed the platform; 0 while there is none."""
    interventions: Interventions = field(default_factory=Interventions)
    services: Mapping[str, Service] = field(default_factory=dict)
    allocations: Mapping[str, Allocation] = field(default_factory=dict)
    numbers: Mapping[str, LastNumber] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    secrets: Mapping[str, StoredSecret] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    runs: Mapping[str, JobRun] = field(default_factory=dict)
    secrets_key: str = ""
    """The public key that values are sealed to; empty: there never was one."""
    secrets_last: int = 0
    """The highest number of a value of a secret that was deleted."""
    statuses: Mapping[str, MachineStatus] = field(default_factory=dict)
    leases: Mapping[str, int] = field(default_factory=dict)
    """Lease by machine, of the machines in contact."""
    told_lost: frozenset[str] = frozenset()
    """Machines of which it has been told that they are lost."""
    controllers: frozenset[str] = frozenset()
    """Controllers that live; one of a release before this key was written is not here."""
    controller_problems: Mapping[str, str] = field(default_factory=dict)
    """What keeps a controller from deciding or from knowing all, of those who say so."""
    problems: tuple[str, ...] = ()
    """One sentence per document that cannot be read."""
    unreadable: tuple[str, ...] = ()
    """Keys of intent that cannot be read. While there is one, nothing may be decided: whoever
    can read it decides otherwise, and what is missing here is not unwanted."""

    lineage: tuple[str, ...] = ()
    """A word of each recovery of the store, the newest last."""

    recovering: int = 0
    """Revision of the mark of a store that was recovered, and is held; 0: it is not."""

    unread: Mapping[str, int] = field(default_factory=dict)
    """Revision by key, of the statuses that cannot be read: how those machines are is not known
    here."""

    def has_heard_of(self, machine: str) -> bool:
        """Whether a machine has ever reported, also what cannot be read here."""
        return machine in self.statuses or status_key(machine) in self.unread

    def snapshot(self, machines: Mapping[str, MachineView], now_ms: int) -> Snapshot | None:
        """Return it as a snapshot; None if there is no platform, or intent is unreadable."""
        if self.platform is None or self.unreadable:
            return None
        return Snapshot(
            revision=self.commit,
            platform=self.platform,
            interventions=self.interventions,
            services=self.services,
            allocations=self.allocations,
            statuses=self.statuses,
            machines=machines,
            now_ms=now_ms,
            numbers={name: last.number for name, last in self.numbers.items()},
            lineage=self.lineage,
            volumes=self.volumes,
            secrets={name: each.note for name, each in self.secrets.items()},
            jobs=self.jobs,
            runs=self.runs,
        )


def lineage_of(entry: KeyValue | None) -> tuple[str, ...]:
    """Return the words of recoveries that an entry says."""
    return tuple(entry.value.decode(errors="replace").split()) if entry else ()


def statuses_of(listing: Listing) -> dict[str, KeyValue]:
    """Return the entry that says how a machine is, of each that has one."""
    return _of_machines(_under(listing.entries, MACHINES), _STATUS)


def _leases(machines: Iterable[KeyValue]) -> dict[str, int]:
    return {name: entry.lease for name, entry in _of_machines(machines, _CONTACT).items()}


def _of_machines(entries: Iterable[KeyValue], suffix: str) -> dict[str, KeyValue]:
    """Return the entries of one kind that machines have, by machine."""
    return {
        entry.key[len(MACHINES) : -len(suffix)]: entry
        for entry in entries
        if entry.key.endswith(suffix)
    }


def _under(entries: tuple[KeyValue, ...], prefix: str) -> tuple[KeyValue, ...]:
    """Return the entries under a prefix, of entries sorted by key."""
    begin = bisect_left(entries, prefix, key=_KEY)
    return entries[begin : bisect_left(entries, f"{prefix}\U0010ffff", begin, key=_KEY)]


def kind_sizes(entries: tuple[KeyValue, ...]) -> dict[str, KindSize]:
    """Return how much there is of each kind, of entries sorted by key."""
    of = {prefix: _under(entries, prefix) for prefix in _KINDS}
    return {prefix: _size(some) for prefix, some in of.items()}


def _size(entries: tuple[KeyValue, ...]) -> KindSize:
    size = sum(len(entry.key) + len(entry.value) for entry in entries)
    return KindSize(keys=len(entries), bytes=size)


@dataclass(slots=True)
class _Good(Generic[_T]):
    mod_revision: int
    word: _T


@dataclass(frozen=True, slots=True)
class _Group:
    """What was read of one kind: it is not read again while its entries are the same."""

    entries: tuple[KeyValue, ...]
    words: Mapping[str, object]
    whole: bool = True
    """Whether all of it could be read; what could not is looked at, and said, each time."""


_NOTHING = _Group((), {})


@dataclass(frozen=True, slots=True)
class _Marks:
    """What keys of machines say beside how these are."""

    entries: tuple[KeyValue, ...] = ()
    leases: Mapping[str, int] = field(default_factory=dict)
    told_lost: frozenset[str] = frozenset()


class Reader:
    """Decodes listings, of which a newer version may have written a part.

    Intent is read fully or not at all. While a document of it cannot be read, its last good
    word stands in for it, which suffices to hear machines, and not to decide. A status that
    cannot be read is not known: an older one may say that what has failed is ready.
    """

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._good: dict[str, _Good[object]] = {}
        self._groups: dict[str, _Group] = {}
        self._marks = _Marks()

    def read(self, listing: Listing) -> Stored:
        """Return what a listing says; a document is decoded only if it changed."""
        entries = listing.entries
        of = {prefix: _under(entries, prefix) for prefix in _KINDS}
        problems: dict[str, str] = {}
        platform = self._single(entries, PLATFORM_KEY, Platform, problems)
        interventions = self._single(entries, INTERVENTIONS_KEY, Interventions, problems)
        services = self._words(of[SERVICES], SERVICES, "", Service, problems)
        allocations = self._words(of[ALLOCATIONS], ALLOCATIONS, "", Allocation, problems)
        numbers = self._words(of[NUMBERS], NUMBERS, "", LastNumber, problems)
        volumes = self._words(of[VOLUMES], VOLUMES, "", Volume, problems)
        secrets = self._words(of[SECRETS], SECRETS, "", StoredSecret, problems)
        key = self._single(entries, SECRETS_KEY_KEY, SecretsKey, problems)
        statuses = self._words(of[MACHINES], MACHINES, _STATUS, MachineStatus, problems)
        problems |= {key: _why_odd(key) for key in _odd(entries, of)}
        marks = self._marks_of(of[MACHINES])
        return Stored(
            revision=listing.revision,
            commit=_revision_of(_entry_of(entries, COMMIT_KEY)),
            platform=platform,
            platform_revision=_revision_of(_entry_of(entries, PLATFORM_KEY)) if platform else 0,
            interventions=interventions or Interventions(),
            services=services,
            allocations=allocations,
            numbers=numbers,
            volumes=volumes,
            secrets=secrets,
            jobs=self._words(of[JOBS], JOBS, "", Job, problems),
            runs=self._words(of[RUNS], RUNS, "", JobRun, problems),
            secrets_key=key.public if key else "",
            secrets_last=key.last if key else 0,
            statuses=statuses,
            leases=marks.leases,
            told_lost=marks.told_lost,
            controllers=frozenset(
                entry.key.removeprefix(CONTROLLERS) for entry in of[CONTROLLERS]
            ),
            controller_problems={
                entry.key.removeprefix(CONTROLLERS): entry.value.decode(errors="replace")
                for entry in of[CONTROLLERS]
                if entry.value
            },
            problems=tuple(problems.values()),
            unreadable=tuple(key for key in problems if not key.startswith(MACHINES)),
            lineage=lineage_of(_entry_of(entries, LINEAGE_KEY)),
            recovering=_revision_of(_entry_of(entries, RECOVERING_KEY)),
            unread={
                entry.key: entry.mod_revision
                for entry in (of[MACHINES] if problems else ())
                if entry.key in problems
            },
        )

    def _marks_of(self, machines: tuple[KeyValue, ...]) -> _Marks:
        changed = changed_entries(self._marks.entries, machines)
        if changed is None or not all(each.key.endswith(_STATUS) for each in changed):
            told_lost = frozenset(_of_machines(machines, _LOST))
            self._marks = _Marks(machines, _leases(machines), told_lost)
        else:
            self._marks = replace(self._marks, entries=machines)
        return self._marks

    def _single(
        self,
        entries: tuple[KeyValue, ...],
        key: str,
        kind: type[_T],
        problems: dict[str, str],
    ) -> _T | None:
        entry = _entry_of(entries, key)
        if entry is None:
            self._good.pop(key, None)
            return None
        return self._word(entry, kind, "", problems)

    def _words(
        self,
        entries: tuple[KeyValue, ...],
        prefix: str,
        suffix: str,
        kind: type[_T],
        problems: dict[str, str],
    ) -> Mapping[str, _T]:
        known = self._groups.get(prefix, _NOTHING)
        if known.whole and known.entries == entries:
            return cast("Mapping[str, _T]", known.words)
        changed = changed_entries(known.entries, entries) if known.whole else None
        words, found = dict(cast("Mapping[str, _T]", known.words)), dict[str, str]()
        if changed is None:
            words = {}
            for gone in {each.key for each in known.entries} - {each.key for each in entries}:
                self._good.pop(gone, None)
        for entry in entries if changed is None else changed:
            if entry.key.endswith(suffix):
                name = entry.key[len(prefix) : len(entry.key) - len(suffix)]
                word = self._word(entry, kind, name, found)
                if word is None:
                    words.pop(name, None)
                else:
                    words[name] = word
        problems |= found
        self._groups[prefix] = _Group(entries, words, whole=not found)
        return words

    def _word(
        self, entry: KeyValue, kind: type[_T], name: str, problems: dict[str, str]
    ) -> _T | None:
        good = self._good.get(entry.key)
        if good is None or good.mod_revision != entry.mod_revision:
            try:
                good = _Good(entry.mod_revision, cast("object", _decoded(kind, entry, name)))
                self._good[entry.key] = good
            except UsageError as error:
                problems[entry.key] = f"{entry.key} cannot be read: {error}"
                if kind is MachineStatus:
                    return None
        return cast("_T", good.word) if good else None


def _odd(
    entries: tuple[KeyValue, ...], of: Mapping[str, tuple[KeyValue, ...]]
) -> Iterator[str]:
    """Yield the keys that are of a kind that this version does not know."""
    known = sum(map(len, of.values())) + sum(
        _entry_of(entries, key) is not None for key in _SINGLE
    )
    if known < len(entries):
        for entry in entries:
            if entry.key not in _SINGLE and not entry.key.startswith(_KINDS):
                yield entry.key


def _why_odd(key: str) -> str:
    if key == RECOVERING_KEY:
        return (
            "the store was recovered, and it is to be seen first what machines have heard: "
            "run `pltfrms recover` again, there"
        )
    return f"{key} is of a kind not known here"


def _revision_of(entry: KeyValue | None) -> int:
    return entry.mod_revision if entry else 0


def _entry_of(entries: tuple[KeyValue, ...], key: str) -> KeyValue | None:
    """Return the entry of a key, of entries sorted by key."""
    at = bisect_left(entries, key, key=_KEY)
    return entries[at] if at < len(entries) and entries[at].key == key else None


def _decoded(kind: type[_T], entry: KeyValue, name: str) -> _T:
    read = decode if kind is MachineStatus else decode_fully
    word = read(cast("type[_T]", cast("Hashable", kind)), entry.value)
    _check_name(word, name)
    return word


def _check_name(word: object, name: str) -> None:
    """Refuse a document that is stored under the name of another."""
    said = {
        Service: lambda: cast("Service", word).name,
        Allocation: lambda: cast("Allocation", word).id,
        LastNumber: lambda: cast("LastNumber", word).replica,
        Volume: lambda: cast("Volume", word).id,
        MachineStatus: lambda: cast("MachineStatus", word).machine,
        StoredSecret: lambda: cast("StoredSecret", word).note.name,
    }.get(type(word), lambda: name)()
    if said != name:
        raise UsageError(f"it says that it is {said!r}")
