"""The seam to the store: a linearizable key-value store with leases and watch."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pltfrms.model.messages.store import StoreLook


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """One key of the store."""

    key: str
    value: bytes
    mod_revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All entries under a prefix at one revision."""

    revision: int
    entries: tuple[KeyValue, ...]
    total: int = 0
    """How many keys there are under the prefix, also those that are not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Write a key."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove a key; removing an absent one is not an error."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTime:
    """How long a lease has and had; whole seconds."""

    remaining_seconds: int
    """Rounded down."""
    granted_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition of a transaction: the key has this `mod_revision` (0 = absent)."""

    key: str
    mod_revision: int


class Store(Protocol):
    """A linearizable key-value store with leases and watch (etcd).

    Every method raises UnavailableError when no endpoint answers. Nothing was written then,
    unless it is an UnclearError: then nobody knows.
    """

    async def list(self, prefix: str, after: int = 0) -> Listing:
        """Return all entries whose key starts with `prefix`, linearizably, sorted by key.

        With `after` only those that were written at a later revision.
        """
        ...

    async def commit(
        self, writes: Sequence[Put | Delete], conditions: Sequence[Condition] = ()
    ) -> int | None:
        """Do all writes if all conditions hold; return the new revision, or None if not done.

        Raises:
            NotFoundError: a Put names a lease that is gone; nothing was done.
            UnclearError: it may or may not be done.
            StoreFullError: there is no room for a Put; see `Members`.
        """
        ...

    def changes(self, prefix: str, after: int) -> AsyncIterator[int]:
        """Yield revisions > `after` at which something under `prefix` changed.

        A hint to list again, never the data itself. May skip, may repeat; ends (normally or
        with UnavailableError) when the connection breaks; the caller lists and calls again.
        """
        ...

    async def grant(self, ttl_seconds: int) -> int:
        """Make a lease and return its id."""
        ...

    async def keep_alive(self, lease: int) -> bool:
        """Renew a lease; False if it does not exist any more."""
        ...

    async def lease_time(self, lease: int) -> LeaseTime | None:
        """Return how long a lease still has; None if it does not exist any more."""
        ...

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Gateway(Protocol):
    """The same store as programs know it that speak to etcd's JSON gateway, word for word."""

    async def ask(
        self, path: str, question: Mapping[str, Any], *, repeatable: bool
    ) -> Mapping[str, Any]:
        """Return what etcd answers to a question, such as `/v3/kv/range`.

        One that is not `repeatable` is asked once.

        Raises:
            NotFoundError: it names a lease that is gone; nothing was done.
            InvariantError: etcd refuses it.
            UnclearError: it may or may not be done.
            UnavailableError: nobody answers; nothing was done.
        """
        ...

    def watch(self, question: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any]]:
        """Yield what etcd says to a question for a watch.

        Ends (normally or with UnavailableError) when the connection breaks, or nothing was
        said for a while: the other end may be dead.
        """
        ...


class Members(Protocol):
    """The members of the store, one by one: how they are, and what is done for them.

    Every method but `look` raises UnavailableError when it is not done, or not known to be.
    """

    async def look(self) -> StoreLook:
        """Return how all members are; who does not answer has a `trouble`."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget what was before a revision; that it is forgotten already is not an error."""
        ...

    async def lead(self, member: str) -> None:
        """Have a member lead the others."""
        ...

    async def add(self, peer: str) -> None:
        """Add a learner that others reach at `peer`; that there is one is not an error."""
        ...

    async def promote(self, number: str) -> None:
        """Give a learner a vote; that it has one is not an error."""
        ...

    async def remove(self, number: str) -> None:
        """Take a member out; that it is not there is not an error."""
        ...

    async def defragment(self, member: str) -> None:
        """Make the file of a member as small as what is in use; it answers nobody meanwhile."""
        ...

    async def disarm(self) -> None:
        """Have a full store take writes again."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
