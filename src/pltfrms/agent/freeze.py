"""Whether an operator has forbidden every change of routes."""

from collections.abc import Callable
from typing import Final

from pltfrms.model.network.interventions import Freeze

FROZEN_FILE: Final = "frozen"
"""In the runtime directory: freezes this machine for as long as it is there."""


class Frost:
    """While it holds, nothing of ours changes a route, whatever happens."""

    def __init__(self, frozen_here: Callable[[], bool]) -> None:
        """Ask `frozen_here` each time."""
        self._frozen_here = frozen_here
        self._freeze: Freeze | None = None
        self.starting = False
        """The machine has no routing daemon yet: there are no routes of ours to be kept, and
        without any it could not even hear that the freeze is over. So none holds."""

    def follow(self, freeze: Freeze | None) -> None:
        """Hear what the controllers say."""
        self._freeze = freeze

    @property
    def reason(self) -> str:
        """Why nothing may be changed now, one sentence; empty: it may."""
        if self.starting:
            return ""
        if self._freeze is not None:
            by = f" by {self._freeze.by}" if self._freeze.by else ""
            why = f": {self._freeze.why}" if self._freeze.why else ""
            return f"frozen{by}{why}"
        return (
            f"frozen by the file {FROZEN_FILE} on this machine" if self._frozen_here() else ""
        )
