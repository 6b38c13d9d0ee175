"""Units of ours, as far as a command tells systemd to start and stop them."""

import subprocess
from pathlib import Path
from typing import Final

from pltfrms.drivers.told import BEGUN_FILE
from pltfrms.drivers.tool import run_tool
from pltfrms.errors import UnavailableError

_RUNS: Final = Path("/run/systemd/system")
_NOT_LOADED: Final = 5
"""systemctl's exit code for a unit that is not there; the others were stopped."""
_SECONDS: Final = 120.0
"""More than all units of ours may take to stop, one after the other."""
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
        """Stop units, and wait until they have; UnavailableError as `start`."""
        self._do("stop", units)

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
        if done.returncode and not (verb == "stop" and done.returncode == _NOT_LOADED):
            raise UnavailableError(f"`{' '.join(command)}`: {done.stderr.strip()}")


async def begin_controller(state: Path) -> None:
    """Start what a controller runs on a machine that has become one; does not wait for it.

    Once a store has been seen here, that is systemd's and its operator's to start and to stop.

    Raises:
        UnavailableError: systemd does not take it.
    """
    if _RUNS.is_dir() and not (state / BEGUN_FILE).exists():
        await run_tool("systemctl", "--no-block", "start", *_OF_CONTROLLERS)
