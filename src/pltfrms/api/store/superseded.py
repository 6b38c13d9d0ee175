"""A member that was cut off while the store was recovered elsewhere: it is to start anew.

Nobody answers it any more: the others show another authority, and etcd reads whom it believes
only when it starts.
"""

import asyncio
import os
import signal
from pathlib import Path

import structlog

from pltfrms.api.store.member import DATA_DIRECTORY
from pltfrms.api.store.securing import take_authority
from pltfrms.controller.planning.loop import Controller
from pltfrms.drivers.identity.store_files import RECOVERING_FILE, StoreFiles
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.store.data import in_use, user_of
from pltfrms.errors import UsageError
from pltfrms.model.network.topology import Platform

_LOOK_SECONDS = 10.0
_SILENT_LOOKS = 3
"""At which the store does not answer, one after the other, before others are asked."""
_UNIT = "/pltfrms-etcd.service"
"""How the group of a process ends that systemd starts again."""

_log = structlog.get_logger(__name__)


async def follow_recoveries(
    controller: Controller, platform: Platform, directories: Directories
) -> None:
    """Have our member follow, for ever, a recovery that was done while it was cut off.

    Only while the store answers nothing. Until it says what the platform is, it is that of the
    file.
    """
    silent = 0
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        silent = 0 if controller.view.fresh else silent + 1
        if silent >= _SILENT_LOOKS:
            known = controller.view.platform or platform
            await end_superseded(known, controller.name, directories.state)


async def end_superseded(platform: Platform, machine: str, state: Path) -> bool:
    """End our member if it started with what a recovery has replaced; return whether it was.

    None that systemd does not start again, none that is being recovered here, and none that
    speaks plainly.
    """
    files = StoreFiles(state)
    if not files.there or (state / RECOVERING_FILE).exists():
        return False
    data = state / DATA_DIRECTORY
    await take_authority(platform, machine, state, has_data=True)
    try:
        if not (files.superseded and in_use(data)):
            return False
        member = user_of(data)
        if member is None or not _restarted(member):
            _log.warning("the store was recovered elsewhere: restart etcd of this machine")
            return False
        os.kill(member, signal.SIGTERM)
    except (UsageError, OSError) as error:
        _log.warning("member of the store is not started anew", why=str(error))
        return False
    _log.info("the store was recovered elsewhere: our member starts anew", pid=member)
    return True


def _restarted(process: int) -> bool:
    """Return whether systemd starts it again once it has ended."""
    groups = Path(f"/proc/{process}/cgroup").read_text().splitlines()
    return any(each.endswith(_UNIT) for each in groups)
