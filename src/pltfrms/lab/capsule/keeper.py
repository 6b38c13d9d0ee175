"""`python -m pltfrms.lab.capsule.keeper NAME DIRECTORY BY`: start a capsule and outlive it.

The only process of a lab outside the capsule. It reads the lab's parts as one JSON line from
stdin, forks the capsule's root, and passes the daemon's reports (JSON lines) on to stdout.
Until the starter has answered `ready` with a byte, the end of stdin means that it is gone: then
the capsule must go too. Afterwards the keeper waits for the root's end and removes the run
directory.
"""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pltfrms.codec import decode
from pltfrms.errors import PltfrmsError
from pltfrms.lab.capsule.root import run_root
from pltfrms.lab.parts import LabParts
from pltfrms.lab.processes.namespaces import NEW_PID, set_process_name, unshare
from pltfrms.lab.processes.processes import OWN_NICE, close_descriptors, fork, share_processor
from pltfrms.lab.rundir import KEEPER_NAME, LabInfo, claim, directory_of, forget, write_info

_STDIN, _STDOUT, _STDERR = 0, 1, 2


def main(name: str, directory: str, started_by: str) -> None:
    """Read the parts, then go to the background and be the keeper."""
    if os.fork():
        os._exit(0)  # the starter waits for this: it shall not have us as a child
    set_process_name(KEEPER_NAME)
    share_processor(OWN_NICE, alone=True)
    try:
        text = _read_line()
        parts = decode(LabParts, text)
        lock = claim(name)
    except (PltfrmsError, EOFError) as error:
        _say({"error": str(error), "kind": type(error).__name__})
        return
    draft = LabInfo(
        name=name,
        directory=directory,
        root_pid=0,
        keeper_pid=os.getpid(),
        started_at=time.time(),
        machines=len(parts.machines),
        packages=any(machine.tree for machine in parts.machines),
        started_by=started_by,
    )
    _keep(draft, parts)
    os.close(lock)


def _keep(draft: LabInfo, parts: LabParts) -> None:
    """Start the capsule of the lab that `draft` describes, and stay until its end."""
    run_directory = directory_of(draft.name)
    log = os.open(run_directory / "lab.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, _STDERR)
    os.close(log)
    reports, report = os.pipe()
    unshare(NEW_PID)
    pid = fork(lambda: _root(parts, run_directory, report))
    os.close(report)
    if not _watch_start(reports, replace(draft, root_pid=pid)):
        os.kill(pid, signal.SIGKILL)
        # The starter reads only the first error; this is for those that nobody reported.
        words = (run_directory / "lab.log").read_text(errors="replace").splitlines()
        why = words[-1] if words else "it did not say why"
        _say({"error": f"the lab did not start: {why}", "kind": "UnavailableError"})
    os.waitpid(pid, 0)
    forget(run_directory)


def _root(parts: LabParts, run_directory: Path, report: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, _STDIN)
    os.dup2(_STDERR, _STDOUT)
    os.close(null)
    close_descriptors(keep=(report,))
    os.chdir("/")
    run_root(parts, run_directory, report)


def _watch_start(reports: int, info: LabInfo) -> bool:
    """Pass reports on until the lab is ready (True) or it or its starter is gone."""
    for line in _lines(reports):
        message = json.loads(line)
        if "ready" in message:
            write_info(info)
            _say({"ready": info.root_pid})
            started = os.read(_STDIN, 1) != b""
            _detach()
            return started
        _say(message)
    return False


def _lines(reports: int) -> Iterator[bytes]:
    """Yield lines from the capsule; end when it closes the pipe or the starter goes away."""
    rest = b""
    while True:
        readable, _, _ = select.select((reports, _STDIN), (), ())
        if _STDIN in readable:
            return
        block = os.read(reports, 65_536)
        if not block:
            return
        *lines, rest = (rest + block).split(b"\n")
        yield from lines


def _read_line() -> bytes:
    blocks: list[bytes] = []
    while not blocks or not blocks[-1].endswith(b"\n"):
        block = os.read(_STDIN, 1 << 20)
        if not block:
            raise EOFError("the starter went away")
        blocks.append(block)
    return b"".join(blocks)


def _say(message: dict[str, object]) -> None:
    try:
        os.write(_STDOUT, json.dumps(message).encode() + b"\n")
    except BrokenPipeError:
        return  # the starter is gone; stdin will say so too


def _detach() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, _STDIN)
    os.dup2(null, _STDOUT)
    os.close(null)


if __name__ == "__main__":
    main(*sys.argv[1:4])
