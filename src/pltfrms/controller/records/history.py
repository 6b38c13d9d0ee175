"""Keeps what services were, before something else takes its place."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from pltfrms.codec import encode
from pltfrms.controller.records.documents import read_documents
from pltfrms.controller.records.state import VERSIONS, version_key
from pltfrms.drivers.store.ports import Condition, Delete, Put, Store
from pltfrms.drivers.store.transaction import batches
from pltfrms.errors import UsageError
from pltfrms.model.messages.api import ServiceHistory, ServiceVersion
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import Service
from pltfrms.planner.changes.change import Outcome

VERSIONS_KEPT: Final = 20
"""Of each service, the present one among them."""
_WRITES_MAX = 100
"""What the store takes at once, less what each commit has."""


class History:
    """The earlier versions of all services, in the store."""

    def __init__(self, store: Store) -> None:
        """Read and write there."""
        self._store = store

    async def keep(
        self,
        before: Mapping[str, Service],
        after: Iterable[Service],
        conditions: Sequence[Condition],
    ) -> None:
        """Keep each service that is about to get another version, and drop its oldest one.

        That is done before the change itself is committed: whatever is refused or lost after
        that, no version goes that is not kept. To keep the same again changes nothing. It is
        done under the `conditions` of the change: where one does not hold, the change is
        refused as well, and what was read is too old to be kept.

        Raises:
            UnavailableError: the store does not answer.
        """
        writes: list[Put | Delete] = []
        for service in after:
            old = before.get(service.name)
            if old is None or old.version == service.version:
                continue
            key = version_key(old.name, old.version)
            word = ServiceVersion(service=old)
            if not _has_own_rollout(old):
                word = _version_of(old, await self._kept(key))
            writes.append(Put(key=key, value=encode(word)))
            surplus = old.version - VERSIONS_KEPT + 1
            if surplus > 0:
                writes.append(Delete(key=version_key(old.name, surplus)))
        for batch in batches(writes):
            await self._store.commit(batch, conditions)

    async def read(self, service: Service) -> ServiceHistory:
        """Return the versions of a service; UnavailableError."""
        prefix = f"{VERSIONS}{service.name}/"
        listing = await self._store.list(prefix)
        found = read_documents(ServiceVersion, listing.entries, fully=True)
        present = version_key(service.name, service.version)
        # What is later was there before a backup was put back.
        last = version_key(service.name, max(service.version, service.last_version))
        kept = sorted(found.words.items())
        earlier = [
            _version_of(word.service, word)
            for key, word in kept
            if key != present and key <= last
        ]
        return ServiceHistory(
            versions=(_version_of(service, found.words.get(present)), *reversed(earlier)),
            problems=tuple(found.problems.values()),
        )

    async def _kept(self, key: str) -> ServiceVersion | None:
        listing = await self._store.list(key)
        return read_documents(ServiceVersion, listing.entries).words.get(key)


def _has_own_rollout(service: Service) -> bool:
    """Return whether the last rollout was that of its version.

    A service that went back has the rollout of the version that failed.
    """
    return service.rollout is not None and service.rollout.version == service.version


def _version_of(service: Service, kept: ServiceVersion | None) -> ServiceVersion:
    """Return a version with who accepted it, as its rollout says, or what is kept of it."""
    for known in (service, *((kept.service,) if kept else ())):
        if known.rollout and _has_own_rollout(known):
            return ServiceVersion(service=service, by=known.rollout.by, why=known.rollout.why)
    return replace(kept, service=service) if kept else ServiceVersion(service=service)


def forgotten(service: Service) -> list[Delete]:
    """Return the writes that drop all that is kept of a service."""
    last = max(service.version, service.last_version)
    numbers = range(max(1, last - VERSIONS_KEPT), last + 1)
    return [Delete(key=version_key(service.name, number)) for number in numbers]


def forgotten_by(snapshot: Snapshot, outcome: Outcome) -> list[Delete]:
    """Return the writes that drop what is kept of services that go, if all fits at once."""
    writes = [each for name in outcome.deleted for each in forgotten(snapshot.services[name])]
    if writes and len(writes) + 2 * len(outcome.lines) > _WRITES_MAX:
        raise UsageError(
            f"{len(outcome.deleted)} services are to go with all their versions, which is too "
            f"much at once; first: pltfrms service delete {outcome.deleted[0]}"
        )
    return writes
