"""What is where in the store, and how it is read.

/pltfrms/platform                   Platform
/pltfrms/interventions              Interventions; absent: none
/pltfrms/services/NAME              Service
/pltfrms/allocations/ID             Allocation
/pltfrms/numbers/REPLICA             LastNumber
/pltfrms/commit                     who wrote last; every change of the keys above writes it
/pltfrms/machines/NAME/status       MachineStatus
/pltfrms/machines/NAME/contact      attached to the machine's lease
/pltfrms/machines/NAME/lost         while it is lost, and that has been told
/pltfrms/controllers/NAME           attached to the lease of the controller itself
/pltfrms-events/TIME-SOURCE-N       Event; apart, because nobody decides by it
/pltfrms-requests/ID                ChangeRequest; apart for the same reason
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from pltfrms.codec import decode, decode_fully
from pltfrms.drivers.store.ports import Condition, KeyValue, Listing, Put
from pltfrms.errors import UsageError
from pltfrms.model.interventions import Interventions
from pltfrms.model.plan import Allocation, LastNumber
from pltfrms.model.service import Service
from pltfrms.model.state import MachineStatus, MachineView, Snapshot
from pltfrms.model.topology import Platform

PREFIX = "/pltfrms/"
PLATFORM_KEY = f"{PREFIX}platform"
INTERVENTIONS_KEY = f"{PREFIX}interventions"
COMMIT_KEY = f"{PREFIX}commit"
SERVICES = f"{PREFIX}services/"
ALLOCATIONS = f"{PREFIX}allocations/"
NUMBERS = f"{PREFIX}numbers/"
MACHINES = f"{PREFIX}machines/"
CONTROLLERS = f"{PREFIX}controllers/"
_KINDS = (SERVICES, ALLOCATIONS, NUMBERS, MACHINES, CONTROLLERS)
EVENTS = "/pltfrms-events/"
REQUESTS = "/pltfrms-requests/"

_T = TypeVar("_T")
_STATUS = "/status"
_CONTACT = "/contact"
_LOST = "/lost"


def service_key(name: str) -> str:
    """Return the key of a service."""
    return f"{SERVICES}{name}"


def allocation_key(allocation: str) -> str:
    """Return the key of an allocation."""
    return f"{ALLOCATIONS}{allocation}"


def number_key(replica: str) -> str:
    """Return the key of the last number of a replica, such as `web.fra.1`."""
    return f"{NUMBERS}{replica}"


def request_key(request: str) -> str:
    """Return the key of a change request."""
    return f"{REQUESTS}{request}"


def status_key(machine: str) -> str:
    """Return the key of what a machine's agent reports."""
    return f"{MACHINES}{machine}{_STATUS}"


def contact_key(machine: str) -> str:
    """Return the key that lives as long as the machine's lease."""
    return f"{MACHINES}{machine}{_CONTACT}"


def lost_key(machine: str) -> str:
    """Return the key that says that the loss of a machine has been told."""
    return f"{MACHINES}{machine}{_LOST}"


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
    statuses: Mapping[str, MachineStatus] = field(default_factory=dict)
    leases: Mapping[str, int] = field(default_factory=dict)
    """Lease by machine, of the machines in contact."""
    told_lost: frozenset[str] = frozenset()
    """Machines of which it has been told that they are lost."""
    controllers: frozenset[str] = frozenset()
    """Controllers that live; one of a release before this key was written is not here."""
    problems: tuple[str, ...] = ()
    """One sentence per document that cannot be read."""
    unreadable: tuple[str, ...] = ()
    """Keys of intent that cannot be read. While there is one, nothing may be decided: whoever
    can read it decides otherwise, and what is missing here is not unwanted."""

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
        )


def leases_of(listing: Listing) -> dict[str, int]:
    """Return the lease of each machine in contact."""
    entries = {entry.key: entry for entry in listing.entries}
    return {name: entry.lease for name, entry in _of_machines(entries, _CONTACT).items()}


def _of_machines(entries: Mapping[str, KeyValue], suffix: str) -> dict[str, KeyValue]:
    """Return the entries of one kind that machines have, by machine."""
    return {
        key[len(MACHINES) : -len(suffix)]: entry
        for key, entry in entries.items()
        if key.startswith(MACHINES) and key.endswith(suffix)
    }


@dataclass(slots=True)
class _Good(Generic[_T]):
    mod_revision: int
    word: _T


class Reader:
    """Decodes listings, of which a newer version may have written a part.

    Intent is read fully or not at all. While a document of it cannot be read, its last good
    word stands in for it, which suffices to hear machines, and not to decide. A status that
    cannot be read is not known: an older one may say that what has failed is ready.
    """

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._good: dict[str, _Good[object]] = {}

    def read(self, listing: Listing) -> Stored:
        """Return what a listing says; a document is decoded only if it changed."""
        entries = {entry.key: entry for entry in listing.entries}
        self._good = {key: good for key, good in self._good.items() if key in entries}
        problems: dict[str, str] = {}
        commit = entries.get(COMMIT_KEY)
        platform = self._single(entries, PLATFORM_KEY, Platform, problems)
        interventions = self._single(entries, INTERVENTIONS_KEY, Interventions, problems)
        services = self._words(entries, SERVICES, "", Service, problems)
        allocations = self._words(entries, ALLOCATIONS, "", Allocation, problems)
        numbers = self._words(entries, NUMBERS, "", LastNumber, problems)
        statuses = self._words(entries, MACHINES, _STATUS, MachineStatus, problems)
        problems |= {key: f"{key} is of a kind not known here" for key in filter(_odd, entries)}
        return Stored(
            revision=listing.revision,
            commit=commit.mod_revision if commit else 0,
            platform=platform,
            platform_revision=entries[PLATFORM_KEY].mod_revision if platform else 0,
            interventions=interventions or Interventions(),
            services=services,
            allocations=allocations,
            numbers=numbers,
            statuses=statuses,
            leases=leases_of(listing),
            told_lost=frozenset(_of_machines(entries, _LOST)),
            controllers=frozenset(
                key.removeprefix(CONTROLLERS) for key in entries if key.startswith(CONTROLLERS)
            ),
            problems=tuple(problems.values()),
            unreadable=tuple(key for key in problems if not key.startswith(MACHINES)),
            unread={
                key: entries[key].mod_revision for key in problems if key.startswith(MACHINES)
            },
        )

    def statuses(self, listing: Listing) -> Mapping[str, MachineStatus]:
        """Return what machines report, of a listing of machines alone."""
        entries = {entry.key: entry for entry in listing.entries}
        return self._words(entries, MACHINES, _STATUS, MachineStatus, {})

    def _single(
        self,
        entries: Mapping[str, KeyValue],
        key: str,
        kind: type[_T],
        problems: dict[str, str],
    ) -> _T | None:
        entry = entries.get(key)
        return self._word(entry, kind, "", problems) if entry else None

    def _words(
        self,
        entries: Mapping[str, KeyValue],
        prefix: str,
        suffix: str,
        kind: type[_T],
        problems: dict[str, str],
    ) -> dict[str, _T]:
        words = {}
        for key, entry in entries.items():
            if key.startswith(prefix) and key.endswith(suffix):
                name = key[len(prefix) : len(key) - len(suffix)]
                word = self._word(entry, kind, name, problems)
                if word is not None:
                    words[name] = word
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


def _odd(key: str) -> bool:
    """Return whether a key is of a kind that this version does not know."""
    single = (PLATFORM_KEY, INTERVENTIONS_KEY, COMMIT_KEY)
    return key not in single and not key.startswith(_KINDS)


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
        MachineStatus: lambda: cast("MachineStatus", word).machine,
    }.get(type(word), lambda: name)()
    if said != name:
        raise UsageError(f"it says that it is {said!r}")
