"""Units of ours, as far as a command tells systemd to start and stop them."""

import subprocess
from pathlib import Path
from typing import Final

from pltfrms.drivers.private import replace_file
from pltfrms.drivers.tool import run_tool
from pltfrms.errors import UnavailableError

_RUNS: Final = Path("/run/systemd/system")
_NOT_LOADED: Final = 5
"""systemctl's exit code for a unit that is not there; the others were stopped."""
_MAY_FAIL: Final = {"stop": {_NOT_LOADED}, "reset-failed": {1, _NOT_LOADED}}
"""The last one says 1 of a unit that systemd has forgotten since it stopped."""
_SECONDS: Final = 120.0
"""More than all units of ours may take to stop, one after the other."""
_BEGUN_FILE: Final = "controller-begun"
"""In the directory of the state: its units were started since it is a controller."""
_OF_CONTROLLERS: Final = ("pltfrms-etcd.service", "pltfrms-controller.service")


class Units:
    """The service manager of this machine; where none runs, nothing is done."""

    def start(self, *units: str) -> None:
        """Start units that do not run.

        Raises:
            UnavailableError: one cannot be started, or not in time.
        """
        self._do("start", units)

    def restart(self, *units: str) -> None:
        """Start units anew that run; UnavailableError as `start`."""
        self._do("try-restart", units)

    def stop(self, *units: str) -> None:
        """Stop units, and wait until they have; UnavailableError as `start`.

        Who complained while it ended, as a member of the store that was just taken out, is not
        left to who looks for what has failed.
        """
        self._do("stop", units)
        self._do("reset-failed", units)

    def _do(self, verb: str, units: tuple[str, ...]) -> None:
        if not _RUNS.is_dir():
            return
        command = ["systemctl", verb, *units]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"`{' '.join(command)}`: {error}") from error
        if done.returncode and done.returncode not in _MAY_FAIL.get(verb, ()):
            raise UnavailableError(f"`{' '.join(command)}`: {done.stderr.strip()}")


async def follow_role(state: Path, *, controller: bool) -> None:
    """Start what a controller runs on a machine that has become one; does not wait for it.

    Once for each time that it becomes one: then it is systemd's and its operator's to start and
    to stop.

    Raises:
        UnavailableError: systemd does not take it.
        OSError: the disk does not keep that it is done.
    """
    begun = state / _BEGUN_FILE
    if not controller:
        begun.unlink(missing_ok=True)
    elif _RUNS.is_dir() and not begun.exists():
        await run_tool("systemctl", "--no-block", "start", *_OF_CONTROLLERS)
        replace_file(begun, b"")
