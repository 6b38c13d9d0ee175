"""Secrets of an instance that become others while it runs, and the signal that says so."""

import base64
import json
import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from pltfrms.drivers.sealing import NodeKey
from pltfrms.drivers.tool import run_tool
from pltfrms.drivers.workload.instance import instance_secrets
from pltfrms.drivers.workload.instance.records import Record
from pltfrms.drivers.workload.instance.secrets import opened
from pltfrms.model.running.machine import InstanceSpec
from pltfrms.model.services.secrets import SECRET_BYTES_MAX

_SCRIPT: Final = str(Path(instance_secrets.__file__))


async def renewed(record: Record, spec: InstanceSpec, key: NodeKey, directory: Path) -> bool:
    """Give an instance the values that it is signalled for; return whether one was another.

    What it has is read where it has it, so that nobody needs to remember what it was given.

    Raises:
        UsageError: a value cannot be opened.
        UnavailableError: they cannot be written.
        OSError: the instance is gone.
    """
    uses = tuple(each for each in spec.secrets if each.use.on_change.signal)
    _, kept = opened(replace(spec, secrets=uses), key, directory)
    if kept is None:
        return False
    place = kept["directory"]
    inside = f"/proc/{record.pid}/root{place}"
    new = {name: text for name, _, text in kept["files"] if _read(f"{inside}/{name}") != text}
    if not new:
        return False
    where = f"--mount=/proc/{record.pid}/ns/mnt"
    command = (sys.executable, "-I", "-S", _SCRIPT, place)
    with ExitStack() as held:
        pidfd = record.open()
        held.callback(os.close, pidfd)
        try:
            await run_tool("nsenter", where, *command, text=json.dumps(new))
        finally:  # also when we end meanwhile: nobody else would say that it is written
            for name in sorted({e.use.on_change.signal for e in uses if e.use.file in new}):
                signal.pidfd_send_signal(pidfd, signal.Signals[f"SIG{name}"])
    return True


def _read(path: str) -> str:
    """Return what an instance has, whatever it has made of it; nobody is waited for."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        return base64.b64encode(file.read(SECRET_BYTES_MAX + 1) or b"").decode()
