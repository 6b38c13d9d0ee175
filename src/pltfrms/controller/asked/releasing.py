"""Volumes that operators release, or give up: each is one transaction, and written down."""

from dataclasses import replace

from pltfrms.codec import encode
from pltfrms.controller.planning.judging import conditions, require_role, signed
from pltfrms.controller.planning.loop import Controller
from pltfrms.controller.records.auditing import Asked, AuditLog
from pltfrms.controller.records.state import commit_mark, volume_key
from pltfrms.drivers.store.ports import Put
from pltfrms.model.running.volumes import Volume, VolumeState
from pltfrms.planner.changes.volumes import give_up_volume, release_volume

_VERBS = {
    VolumeState.HELD: "begun anew",
    VolumeState.GIVEN_UP: "given up",
    VolumeState.RELEASED: "released",
}


class Releasing:
    """Does with volumes what only operators may."""

    def __init__(self, controller: Controller, records: AuditLog) -> None:
        """Write as `controller`, and into `records` who asked for it."""
        self._controller = controller
        self._records = records

    async def take(self, name: str, asked: Asked, *, give_up: bool) -> Volume:
        """Release a volume, or give it up, and return it; nothing is done if it is so already.

        Raises:
            ForbiddenError: it is not for the role of who asks.
            NotFoundError: there is none of that name.
            ConflictError: it is in use; or, to give it up, its node is not lost and has it.
        """
        change = give_up_volume if give_up else release_volume
        controller = self._controller

        async def attempt() -> Volume | None:
            snapshot = await controller.view.linearized()
            why = signed(asked.why, asked.by)
            volume = change(snapshot, name, why)
            if volume == snapshot.volumes[name]:
                return volume
            about = f"volume/{name}"
            require_role(snapshot.platform, asked, None, (about,), overrides=False)
            now_ms = controller.clock.unix_ms()
            verb = _VERBS[volume.state]
            if volume.state is not VolumeState.HELD:
                volume = replace(volume, since_ms=now_ms)
            event = controller.journal.tell(about, f"volume {verb}", detail=why)
            sealed = await self._records.seal(f"volume {verb}", (f"{about}: {verb}",), asked)
            writes = [
                commit_mark(controller.name, now_ms),
                Put(key=volume_key(name), value=encode(volume)),
                controller.journal.put(event),
                *sealed.writes,
            ]
            unchanged = (*conditions(snapshot, None), sealed.condition)
            committed = await controller.store.commit(writes, unchanged)
            return volume if committed is not None else None

        return await controller.insisting.until_done(attempt)
