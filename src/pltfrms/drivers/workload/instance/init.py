"""What an agent says to the init of an instance that it starts, and hears from it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final, cast

from pltfrms.drivers.descriptors import readable, writable
from pltfrms.drivers.workload.instance import instance_init
from pltfrms.errors import UnavailableError

_INIT: Final = str(Path(instance_init.__file__))
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Init:
    """Our end of the conversation with an `instance_init.py`."""

    def __init__(self, words: tuple[str, ...], more: Mapping[str, str], log: int) -> None:
        """Start it with these words, and more in its environment.

        What it complains of goes to `log`, which is closed.
        """
        self.started = False
        self._pidfd = -1
        self._heard = b""
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _INIT, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env={"PATH": _PATH, **more},
                start_new_session=True,
            )
        finally:
            os.close(log)
        self._to = cast("IO[bytes]", self._process.stdin)
        self._from = cast("IO[bytes]", self._process.stdout)
        for end in (self._to, self._from):
            os.set_blocking(end.fileno(), False)

    def meet(self, pid: int) -> int:
        """Hold on to the instance's pid 1, so that nobody else can be mistaken for it."""
        self._pidfd = os.pidfd_open(pid)
        return pid

    async def say(self, words: str) -> None:
        """Tell it a line, however long: a pipe takes only so much at once."""
        left = memoryview(words.encode() + b"\n")
        while left:
            await writable(self._to.fileno())
            left = left[os.write(self._to.fileno(), left) :]

    async def hear(self, word: str) -> str:
        """Return what follows `word` in the next line."""
        line = await self._line()
        said, _, rest = line.partition(" ")
        if said != word:
            raise UnavailableError(rest or "its init ended without a word: see its log")
        return rest

    async def _line(self) -> str:
        while b"\n" not in self._heard:
            await readable(self._from.fileno())
            part = os.read(self._from.fileno(), 4096)
            if not part:
                return ""
            self._heard += part
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    async def kill(self) -> None:
        """End it, whatever it has come to; without `go` it also ends by itself."""
        self._to.close()
        self._process.kill()
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await readable(self._pidfd)

    def close(self) -> None:
        """Release descriptors, and reap the process that made the namespaces."""
        self._to.close()
        self._from.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._process.kill()
        self._process.wait()
