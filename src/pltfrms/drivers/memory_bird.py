"""The in-memory twin of the routing daemon."""

from pltfrms.errors import InvariantError, UnavailableError
from pltfrms.model.machine import BgpState


class MemoryBird:
    """A BIRD that only remembers what it was given.

    Tests set `refusal` (BIRD's complaint about any new text), `running` and `states`.
    """

    def __init__(self) -> None:
        """Start as a BIRD that runs without configuration and without sessions."""
        self.configs: list[str] = []
        """Every text that was put in place, oldest first."""
        self.loaded = ""
        """The text BIRD runs; the last one put in place unless BIRD was not running then."""
        self.running = True
        self.refusal = ""
        self.states: tuple[BgpState, ...] = ()

    async def apply(self, config: str) -> str:
        """Remember `config`, unless `refusal` is set."""
        if self.configs and self.configs[-1] == config:
            if not self.running:
                return "unchanged; BIRD is not running"
            if self.loaded == config:
                return "unchanged"
            self.loaded = config
            return "unchanged, but BIRD ran an older one: reconfigured"
        if self.refusal:
            raise InvariantError(f"BIRD refuses the configuration: {self.refusal}")
        self.configs.append(config)
        generation = f"gen-{len(self.configs)}"
        if not self.running:
            return f"{generation}: in place for the next start of BIRD"
        self.loaded = config
        return f"{generation}: reconfigured"

    async def sessions(self) -> tuple[BgpState, ...]:
        """Return `states`."""
        if not self.running:
            raise UnavailableError("no answer from BIRD: not running")
        return self.states
