"""What a controller does beside plans: forget what nobody needs, and keep volumes."""

import contextlib
from collections.abc import Iterable
from dataclasses import replace

from pltfrms.codec import encode
from pltfrms.controller.records.journal import EventLog
from pltfrms.controller.records.state import (
    MACHINES,
    status_key,
    statuses_of,
    unchanged_since,
    volume_key,
)
from pltfrms.drivers.store.ports import Delete, Put, Store
from pltfrms.drivers.store.transaction import MAX_OPERATIONS
from pltfrms.errors import UnavailableError
from pltfrms.model.running.state import Snapshot
from pltfrms.model.running.volumes import Volume
from pltfrms.model.services.parts import PARTS, part_of
from pltfrms.planner.changes.volumes import made_now, taken_back
from pltfrms.planner.upkeep.forgetting import unneeded_keys, unneeded_machines

_MOST_VOLUMES = MAX_OPERATIONS // 2 - 1
"""Of one transaction; each is two writes."""


async def forget_machines(store: Store, snapshot: Snapshot) -> None:
    """Forget how some machines were that have left the platform."""
    if not unneeded_machines(snapshot, {}):
        return
    listing = await store.list(MACHINES)
    written_at = {name: entry.mod_revision for name, entry in statuses_of(listing).items()}
    unneeded = unneeded_machines(snapshot, written_at)[: MAX_OPERATIONS - 1]
    writes = [Delete(key=status_key(name)) for name in unneeded]
    if writes:
        await store.commit(writes, (unchanged_since(snapshot.revision),))


async def forget_parts_of(store: Store, snapshot: Snapshot, deleted: Iterable[str]) -> None:
    """Forget at once what services had that are deleted: another one may get a name at once.

    What fails is left to the next pass that looks at all parts.
    """
    with contextlib.suppress(UnavailableError):
        for name in deleted:
            await forget_parts(store, snapshot, part_of(name))


async def forget_parts(store: Store, snapshot: Snapshot, below: str = PARTS) -> None:
    """Forget what services had in the store that have no part there any more."""
    listing = await store.list(below)
    unneeded = unneeded_keys(snapshot.services, [entry.key for entry in listing.entries])
    for at in range(0, len(unneeded), MAX_OPERATIONS - 1):
        some = unneeded[at : at + MAX_OPERATIONS - 1]
        writes = [Delete(key=key) for key in some]
        await store.commit(writes, (unchanged_since(snapshot.revision),))


async def keep_volumes(
    store: Store, journal: EventLog, mark: Put, snapshot: Snapshot, now_ms: int
) -> int | None:
    """Record which volumes were made, and which were given up before their nodes came back.

    Return the revision of the commit; 0: there is nothing to do, None: somebody was first.
    """
    found = tuple(taken_back(snapshot))[:_MOST_VOLUMES]
    made = () if found else tuple(made_now(snapshot))[:_MOST_VOLUMES]
    if not found and not made:
        return 0
    writes: list[Put | Delete] = [mark]
    writes += [Put(key=volume_key(each.id), value=encode(each)) for each in made]
    for each in found:
        known = replace(each, since_ms=now_ms) if each.why else each
        writes += [Put(key=volume_key(each.id), value=encode(known)), _told(journal, each)]
    return await store.commit(writes, (unchanged_since(snapshot.revision),))


def _told(journal: EventLog, volume: Volume) -> Put:
    event = journal.tell(
        f"volume/{volume.id}",
        "volume given up" if volume.why else "volume taken back",
        detail=volume.why or f"{volume.node} is back, and its replica runs there",
    )
    return journal.put(event)
