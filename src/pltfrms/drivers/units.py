"""Units of ours, as far as a command tells systemd to start and stop them."""

import subprocess
from pathlib import Path
from typing import Final

from pltfrms.errors import UnavailableError

_RUNS: Final = Path("/run/systemd/system")
_NOT_LOADED: Final = 5
"""systemctl's exit code for a unit that is not there; the others were stopped."""
_SECONDS: Final = 120.0
"""More than all units of ours may take to stop, one after the other."""


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
