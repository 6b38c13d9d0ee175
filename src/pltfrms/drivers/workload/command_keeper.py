"""Run a command for as long as the agent lives. Run: `python -I -S command_keeper.py WORDS`.

The agent has the other end of our input and writes nothing into it: when that ends, so do the
command and what it has started, also what has a session of its own in a container. Else how it
ended is how we end. Standard library only, as `instance_init.py`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_FOUND = 127
_SIGNALLED = 128


def main(words: list[str]) -> int:
    """Return how a command ended, as shells count."""
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    child = os.posix_spawnp(
        words[0],
        words,
        {"PATH": os.environ["PATH"]},
        file_actions=[nothing],
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )
    end = os.pidfd_open(child)
    ears = select.poll()
    ears.register(end, select.POLLIN)
    ears.register(0, select.POLLIN)
    if end not in dict(ears.poll()):
        _end_all()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else _SIGNALLED - status


def _end_all() -> None:
    """Kill all below us, and our own group last."""
    for group in (*_groups_below(os.getpid()), os.getpgrp()):
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _groups_below(pid: int) -> Iterator[int]:
    own = os.getpgrp()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in map(int, task.read_text().split()):
                yield from _groups_below(child)
                if (group := os.getpgid(child)) > 1 and group != own:
                    yield group
        except OSError:  # it has just ended
            continue


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as problem:
        print(f"{sys.argv[1]}: {problem.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(_NOT_FOUND)
