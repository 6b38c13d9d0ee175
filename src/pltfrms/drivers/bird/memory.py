"""The in-memory twin of the routing daemon."""

import os
from collections.abc import Mapping

from pltfrms.drivers.ports import Clock
from pltfrms.errors import ConflictError, InvariantError, UnavailableError
from pltfrms.model.running.machine import BfdState, BgpState
from pltfrms.model.running.state import OutsideTable


class MemoryBird:
    """A BIRD that only remembers what it was given, and keeps to the rules of a trial.

    Tests set `refusal` (BIRD's complaint about any new text), `disk_fault` (the number of the
    error with which the disk refuses every new text), `alive`, `states`,
    `cache_states`, `tables` and `refused`. With `on_trial_states` it has other sessions while
    a text is on trial. Without a clock nothing ever expires.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        """Start as a BIRD that runs without configuration and without sessions."""
        self.configs: list[str] = []
        """Every text that was put in place, oldest first."""
        self.loaded = ""
        """The text BIRD runs; the last one put in place unless BIRD was not running then."""
        self.trials: list[str] = []
        """Every text that was tried, oldest first."""
        self.alive = True
        self.refusal = ""
        self.disk_fault = 0
        self.states: tuple[BgpState, ...] = ()
        self.on_trial_states: tuple[BgpState, ...] | None = None
        self.cache_states: tuple[BgpState, ...] = ()
        self.bfd = frozenset({BfdState("fe80::1", "fab-a", up=True, since="12:00")})
        self.ways_found = 0
        self.refused: Mapping[str, Mapping[int, int]] = {}
        self.tables = tuple(
            OutsideTable(version=version, default=False, routes=0) for version in (4, 6)
        )
        self.fault = ""
        """What a question about the outside fails with, as our own code might."""
        self._clock = clock
        self._trial = ""
        """What our side thinks is on trial."""
        self._before: str | None = None
        """What the daemon goes back to; None when nothing is on trial for it."""
        self._expires_at = 0.0

    async def apply(self, config: str, *, revert_after_seconds: int = 0) -> str:
        """Remember `config`, unless `refusal` is set."""
        self._expire()
        if self._trial:
            raise ConflictError("another configuration is on trial")
        if revert_after_seconds:
            return self._try(config, revert_after_seconds)
        if self.configs and self.configs[-1] == config:
            if not self.alive:
                return "unchanged; BIRD is not running"
            if self.loaded == config:
                return "unchanged"
            self._load(config)
            return "unchanged, but BIRD ran an older one: reconfigured"
        self._check()
        self.configs.append(config)
        generation = f"gen-{len(self.configs)}"
        if not self.alive:
            return f"{generation}: in place for the next start of BIRD"
        self._load(config)
        return f"{generation}: reconfigured"

    async def confirm(self) -> None:
        """See `ports.Bird.confirm`."""
        if not self._trial:
            return
        self._answer()
        self._write()
        tried, self._trial = self._trial, ""
        if self._before is None:
            raise ConflictError("the trial was reverted by BIRD itself")
        self._before = None
        self.configs.append(tried)

    async def revert(self) -> str:
        """See `ports.Bird.revert`."""
        self._expire()
        if not self._trial:
            return "nothing is on trial"
        self._trial = ""
        if self._before is None:
            return "BIRD has gone back by itself"
        self.loaded, self._before = self._before, None
        return "reverted"

    async def running(self) -> str:
        """Return what is loaded."""
        self._expire()
        return self.loaded if self.alive else ""

    async def sessions(self) -> tuple[BgpState, ...]:
        """Return `states`."""
        self._answer()
        if self._before is not None and self.on_trial_states is not None:
            return self.on_trial_states
        return self.states

    async def caches(self) -> tuple[BgpState, ...]:
        """Return `cache_states`."""
        self._answer()
        return self.cache_states

    async def liveness(self) -> frozenset[BfdState]:
        """Return `bfd`."""
        self._answer()
        return self.bfd

    async def find_ways(self) -> None:
        """Count."""
        self._answer()
        self.ways_found += 1

    async def outside(self, own_asn: int) -> tuple[OutsideTable, ...]:
        """Return `tables`, whoever asks."""
        del own_asn
        self._answer()
        if self.fault:
            raise ValueError(self.fault)
        return self.tables

    async def rejects(self, own_asn: int) -> Mapping[str, Mapping[int, int]]:
        """Return `refused`, whoever asks."""
        del own_asn
        self._answer()
        return self.refused

    def forget_us(self) -> None:
        """Be a BIRD whose agent has died: the trial is known to the daemon only."""
        self._trial = ""

    def _try(self, config: str, seconds: int) -> str:
        self._answer()
        if self.loaded == config and self.configs[-1:] == [config]:
            return "unchanged"
        self._check()
        self.trials.append(config)
        self._before, self.loaded, self._trial = self.loaded, config, config
        now = self._clock.monotonic() if self._clock else 0.0
        self._expires_at = now + seconds
        return f"on trial for {seconds} s"

    def _load(self, config: str) -> None:
        """Run it; a plain reconfiguration ends the daemon's own way back."""
        self.loaded, self._before = config, None

    def _write(self) -> None:
        if self.disk_fault:
            raise OSError(self.disk_fault, os.strerror(self.disk_fault))

    def _check(self) -> None:
        self._write()
        if self.refusal:
            raise InvariantError(f"BIRD refuses the configuration: {self.refusal}")

    def _answer(self) -> None:
        self._expire()
        if not self.alive:
            raise UnavailableError("no answer from BIRD: not running")

    def _expire(self) -> None:
        now = self._clock.monotonic() if self._clock else 0.0
        if self._before is not None and now > self._expires_at:
            self.loaded, self._before = self._before, None
