"""Which routing policy is confirmed, which is wanted, and what is known of the attempt."""

from dataclasses import dataclass, field, replace
from typing import Final

from pltfrms import codec
from pltfrms.drivers.ports import Disk
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.network.topology import Platform
from pltfrms.render.bird import policy_fingerprint

POLICY_FILE: Final = "routing.json"
MOST_TRIES: Final = 2
"""A trial that we did not live to judge is repeated once: perhaps it was what ended us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyMemory:
    """What must survive us."""

    platform: Platform | None = None
    """The snapshot whose policy was seen to be good last."""
    fingerprint: str = ""
    """Of that policy, as it was rendered then."""
    tried: str = ""
    """Fingerprint of the policy that was tried last."""
    tries: int = 0
    """Trials of it that have begun and were not judged."""
    on_trial: bool = False
    """Whether the last of them has not ended."""
    refused: str = ""
    """Why it was not good, one sentence; empty: it has not been judged."""


@dataclass(frozen=True, slots=True)
class WantedPolicy:
    """A platform, and the fingerprint of what it wants of this machine."""

    platform: Platform
    fingerprint: str


@dataclass(slots=True)
class Policy:
    """The routing policies of one machine, remembered on disk."""

    machine: str
    disk: Disk
    wish: WantedPolicy | None = None
    interrupted: bool = False
    """Whether a trial was going on when an agent before us ended."""
    _memory: PolicyMemory = field(default_factory=PolicyMemory)
    _usable: bool = False
    """Whether the confirmed policy renders as it did when it was confirmed."""

    def recall(self) -> None:
        """Read the disk.

        Raises:
            UsageError: what is there cannot be used. All is as if it had never been there:
                then BIRD is asked.
        """
        text = self.disk.read(POLICY_FILE)
        if text is None:
            return
        try:
            memory = codec.decode(PolicyMemory, text)
            platform = memory.platform
            self._usable = (
                platform is not None
                and policy_fingerprint(platform, self.machine) == memory.fingerprint
            )
        except (UsageError, KeyError) as error:
            raise UsageError(f"{POLICY_FILE} cannot be used: {error}") from error
        self._memory = memory
        self.interrupted = memory.on_trial
        self._remember(replace(memory, on_trial=False))

    @property
    def confirmed(self) -> Platform | None:
        """The snapshot to render until another is confirmed.

        None if there is none, or if we render it otherwise than the version of us that
        confirmed it: such a text was never seen to be good.
        """
        return self._memory.platform if self._usable else None

    @property
    def fingerprint(self) -> str:
        """Of the confirmed policy; empty if there is none."""
        return self._memory.fingerprint

    @property
    def refused(self) -> str:
        """Why the wanted policy must not be tried again; empty: it may be tried."""
        memory = self._memory
        if self.wish is None or memory.tried != self.wish.fingerprint:
            return ""
        if not memory.refused and memory.tries >= MOST_TRIES:
            return f"the agent ended during its trial, {memory.tries} times"
        return memory.refused

    def keep(self, wish: WantedPolicy) -> None:
        """Confirm a policy."""
        self._usable = True
        self._remember(PolicyMemory(platform=wish.platform, fingerprint=wish.fingerprint))

    def begin(self, wish: WantedPolicy) -> None:
        """Count a trial before it begins.

        Raises:
            UnavailableError: the disk does not take it, so the trial must not begin: one that
                ended us would be repeated for ever.
        """
        memory = self._memory
        tries = memory.tries if memory.tried == wish.fingerprint else 0
        self._remember(
            replace(memory, tried=wish.fingerprint, tries=tries + 1, on_trial=True, refused="")
        )
        if self.disk.late(POLICY_FILE):
            self._remember(memory)
            raise UnavailableError("the disk cannot note that a trial begins: see the problems")

    def drop(self, wish: WantedPolicy, why: str) -> None:
        """End a trial: because of `why`, or (empty) without a judgement."""
        self._remember(
            replace(self._memory, tried=wish.fingerprint, tries=0, on_trial=False, refused=why)
        )

    def _remember(self, memory: PolicyMemory) -> None:
        if memory != self._memory:
            self._memory = memory
            self.disk.write(POLICY_FILE, codec.encode(memory))
