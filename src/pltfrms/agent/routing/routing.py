"""Keep BIRD's configuration as it is wanted, and change its policy with care.

The text that BIRD gets has two parts. Conditions (costs, drains, ends of overrides, ...) change
at any time and are followed at once. The policy is what the platform wants whatever the
conditions; another one is put on trial: BIRD goes back by itself unless it is seen to be good.
Edges wait for their turn first. Until another policy is confirmed, the last confirmed one is
rendered with the conditions of now.
"""

import hashlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import structlog

from pltfrms.agent.freeze import Frost
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.routing.costs import Costs
from pltfrms.agent.routing.permits import Permits
from pltfrms.agent.routing.policy import Policy, WantedPolicy
from pltfrms.agent.routing.rendered import Rendered
from pltfrms.agent.routing.sessions import Sessions
from pltfrms.agent.routing.trial import Attempt, try_out
from pltfrms.agent.routing.validation import Validation
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.errors import InvariantError, UnavailableError
from pltfrms.model.addresses import Prefix
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.machine import BgpState
from pltfrms.model.running.state import RoutingState, RoutingStatus
from pltfrms.planner.routing.instants import next_instant_ms
from pltfrms.render.bird import render_bird
from pltfrms.render.conditions import Conditions

APPLY_SECONDS: Final = 10.0
"""The same text again: finds a BIRD that runs an older one."""
SOON_SECONDS: Final = 1.0
"""While something is awaited of which nobody tells us."""
COLD_SECONDS: Final = 12.0
"""A BIRD that was not running when we came gets the ways of a cold start for this long."""
TURN_SECONDS: Final = 5.0
"""A turn that a controller gave longer ago does not count any more."""
QUIET_SECONDS: Final = 6.0
"""After its start an agent takes no turn for so long. One of a new version may want something
else of BIRD, of which no controller knew; another edge may just have been given its turn."""
PRUNE_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 10.0
"""After a disk has refused a trial."""
_DISK: Final = "trial of a configuration"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What routing needs of the other parts of the agent."""

    world: World
    journal: Journal
    problems: Problems
    poke: Callable[[], None]
    """Called, and must not block, when what is to be reported changes."""
    costs: Costs
    permits: Permits
    frost: Frost
    sessions: Sessions
    announced: Callable[[], AbstractSet[Prefix]]
    """The aggregates that this machine means to announce now."""
    controller_at: Callable[[], float | None]
    """When (monotonic) the last heartbeat was sent that a controller has answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sight:
    """What one pass has seen."""

    states: tuple[BgpState, ...] | None
    """BIRD's sessions; None: it does not answer."""
    hold: bool
    cold: bool


class Routing:
    """BIRD, as one machine wants it."""

    def __init__(self, around: Around, machine: str) -> None:
        """Prepare; `begin` looks at the world."""
        self._around = around
        self._world = around.world
        self._machine = machine
        self._policy = Policy(machine, around.world.disk)
        self._rendered = Rendered(machine)
        self._validation = Validation(around.world, around.problems)
        self._interventions = Interventions()
        self._on_trial: WantedPolicy | None = None
        self._refused = ""
        """The text that BIRD's own parser refused: offering it again is no use."""
        self._cold_until = 0.0
        """Monotonic seconds."""
        self._again_at = 0.0
        """Before that (monotonic seconds) no trial: the disk has refused one."""
        self._turn = ""
        self._turn_at = 0.0
        self._answered_at: float | None = None
        """When (monotonic) a controller first answered what we say."""
        self._at_a_loss = False
        """Whether we failed to find out what is wanted."""
        self._wake = around.costs.changed
        self._state = RoutingState.CONFIRMED
        self._detail = ""
        self._unconfirmed = ""
        """Fingerprint of a text of ours that BIRD ran when we came, and we know no more."""

    # ---- what the others tell and ask --------------------------------------------------------

    def want(self, platform: Platform, interventions: Interventions) -> None:
        """Configure BIRD for this from now on.

        Raises:
            KeyError: the platform has no such machine; nothing is changed.
        """
        self._at_a_loss = True
        conditions = Conditions(interventions=interventions, now_ms=self._world.clock.unix_ms())
        before = self._policy.wish
        if before is None or (before.platform, self._interventions) != (
            platform,
            interventions,
        ):
            render_bird(platform, self._machine, conditions)
        fingerprint = self._rendered.fingerprint(platform)
        if (
            self._state is RoutingState.REVERTED
            and before
            and before.fingerprint != fingerprint
        ):
            self._say(RoutingState.WAITING, "something else is wanted now")
        self._policy.wish = WantedPolicy(platform, fingerprint)
        self._at_a_loss = False
        self._interventions = interventions
        self._around.sessions.own_asn = platform.asn
        self._wake.set()

    def hear_turn(self, fingerprint: str) -> None:
        """Hear which policy a controller lets us put in force now; empty: none."""
        self._turn, self._turn_at = fingerprint, self._world.clock.monotonic()
        self._answered_at = self._turn_at if self._answered_at is None else self._answered_at
        wish = self._policy.wish
        waiting = self._state is RoutingState.WAITING
        if waiting and wish is not None and wish.fingerprint == fingerprint:
            self._wake.set()

    @property
    def status(self) -> RoutingStatus:
        """What to report. A trial that a freeze meets comes to its end."""
        frozen = self._around.frost.reason if self._on_trial is None else ""
        wish = None if self._at_a_loss else self._policy.wish
        return RoutingStatus(
            wanted=wish.fingerprint if wish else "",
            running=self._running(),
            state=RoutingState.FROZEN if frozen else self._state,
            detail=frozen or self._detail,
        )

    @property
    def platform(self) -> Platform | None:
        """The snapshot whose policy BIRD runs, also on trial; None: not known."""
        return self._on_trial.platform if self._on_trial else self._policy.confirmed

    @property
    def confirmed(self) -> Platform | None:
        """The snapshot whose policy was seen to be good last; None: not known."""
        return self._policy.confirmed

    # ---- the work ----------------------------------------------------------------------------

    async def begin(self) -> None:
        """Remember what was confirmed, and find out whether BIRD runs.

        To be called once, before anything is changed.
        """
        with self._around.problems.watch("confirmed routing"):
            self._policy.recall()
        try:
            await self._around.sessions.look()
        except UnavailableError:
            self._cold_until = self._world.clock.monotonic() + COLD_SECONDS
            self._around.frost.starting = True
        if self._policy.interrupted:
            self._around.journal.say(
                f"machine/{self._machine}", "routing reverted", "the agent ended during a trial"
            )

    async def run(self) -> None:
        """Configure BIRD when needed, for ever."""
        while True:
            self._wake.clear()
            seconds = SOON_SECONDS
            with self._around.problems.watch("routing"):
                seconds = await self._pass()
            await wait_event(self._wake, self._world.clock, seconds)

    async def keep_archive(self) -> None:
        """Keep the archive small, for ever."""
        while True:
            if self._archive(self.platform):
                with self._around.problems.watch("MRT archive"):
                    self._world.archive.prune(self._world.clock.unix_ms())
            await self._world.clock.sleep(PRUNE_SECONDS)

    async def _pass(self) -> float:
        """Make BIRD run what it should; return in how many seconds to look again."""
        wish = self._policy.wish
        if wish is None:
            return SOON_SECONDS
        if self._around.frost.reason:
            return SOON_SECONDS
        sight = await self._look(wish)
        if await self._is_confirmed(wish, sight):
            await self._follow(wish, sight)
        else:
            await self._change(wish, sight)
        soon = sight.hold or sight.states is None
        return min(SOON_SECONDS if soon else APPLY_SECONDS, self._seconds_left(wish, sight))

    async def _look(self, wish: WantedPolicy) -> _Sight:
        try:
            states: tuple[BgpState, ...] | None = await self._around.sessions.look()
        except UnavailableError:
            states = None
        platform = self._policy.confirmed or wish.platform
        hold = False
        if platform.sessions_of(self._machine):
            hold = await self._validation.hold(platform.origin_validation, states)
        cold = self._world.clock.monotonic() < self._cold_until
        if states is not None and not hold and not cold:
            self._around.frost.starting = False
        return _Sight(states=states, hold=hold, cold=cold)

    async def _is_confirmed(self, wish: WantedPolicy, sight: _Sight) -> bool:
        """Return whether the wanted policy needs no trial.

        It is the confirmed one; or none was ever confirmed, and BIRD runs no text of ours, or
        exactly what is wanted.
        """
        if self._policy.confirmed is not None:
            return self._policy.fingerprint == wish.fingerprint
        running = await self._world.bird.running()
        self._unconfirmed = hashlib.sha256(running.encode()).hexdigest()[:16] if running else ""
        return running in {"", self._text(wish.platform, sight)}

    # ---- following what is confirmed ---------------------------------------------------------

    async def _follow(self, wish: WantedPolicy, sight: _Sight) -> None:
        """Follow the conditions; what is wanted differs in nothing else."""
        if await self._apply(self._text(wish.platform, sight)):
            self._policy.keep(wish)
            self._say(RoutingState.CONFIRMED)
        else:
            self._say(
                RoutingState.WAITING,
                "BIRD does not get the configuration, see the problems",
            )

    async def _apply(self, text: str) -> bool:
        if text == self._refused:
            return False
        with self._around.problems.watch("BIRD configuration") as outcome:
            try:
                sentence = await self._world.bird.apply(text)
            except InvariantError:
                self._refused = text
                raise
            self._refused = ""
            _log.debug("BIRD configured", sentence=sentence)
        return not outcome.failed

    # ---- changing the policy -----------------------------------------------------------------

    async def _change(self, wish: WantedPolicy, sight: _Sight) -> None:
        confirmed = self._policy.confirmed
        if confirmed is not None:
            await self._apply(self._text(confirmed, sight))
        if refused := self._policy.refused:
            self._say(RoutingState.REVERTED, refused)
        elif reason := self._why_not_now(wish, sight):
            self._say(RoutingState.WAITING, reason)
        else:
            await self._try(wish, sight)
            self._wake.set()

    def _why_not_now(self, wish: WantedPolicy, sight: _Sight) -> str:
        if self._world.clock.monotonic() < self._again_at:
            return self._detail
        if sight.states is None:
            return "BIRD does not answer, so nobody could see whether it is good"
        if sight.cold:
            return "BIRD has just been started"
        if sight.hold:
            return "the sessions with the outside still wait for origin validation"
        if not wish.platform.machine(self._machine).has(Role.EDGE):
            return ""
        return self._why_no_turn(wish)

    def _why_no_turn(self, wish: WantedPolicy) -> str:
        now = self._world.clock.monotonic()
        if now - self._turn_at > TURN_SECONDS:
            return "no controller says whose turn it is"
        if self._answered_at is None or now - self._answered_at < QUIET_SECONDS:
            return "this agent has just started, and controllers first hear what it wants"
        return "" if self._turn == wish.fingerprint else "it is not the turn of this machine"

    async def _try(self, wish: WantedPolicy, sight: _Sight) -> None:
        attempt = Attempt(
            machine=self._machine,
            platforms=(self._policy.confirmed or wish.platform, wish.platform),
            interventions=self._interventions,
            text=self._text(wish.platform, sight),
            announced=self._around.announced(),
            controller_at=self._around.controller_at,
        )
        try:
            self._policy.begin(wish)
        except UnavailableError as error:
            self._put_off(error)
            return
        self._on_trial = wish
        self._say(RoutingState.TRYING)
        try:
            why = await try_out(self._world, attempt)
        except (UnavailableError, OSError) as error:
            self._policy.drop(wish, "")
            if isinstance(error, OSError):
                self._put_off(error)
                self._around.problems.set(_DISK, str(error))
            else:
                self._say(RoutingState.WAITING, str(error))
            return
        except InvariantError as error:
            why = str(error)
        finally:
            self._on_trial = None
        self._around.problems.set(_DISK, "")
        self._judge(wish, why)

    def _put_off(self, error: Exception) -> None:
        """Wait with the trial until there may be space."""
        self._say(RoutingState.WAITING, str(error))
        self._again_at = self._world.clock.monotonic() + PAUSE_SECONDS

    def _judge(self, wish: WantedPolicy, why: str) -> None:
        about = f"machine/{self._machine}"
        if why:
            self._policy.drop(wish, why)
            self._say(RoutingState.REVERTED, why)
            self._around.journal.say(about, "routing reverted", why)
        else:
            self._policy.keep(wish)
            self._say(RoutingState.CONFIRMED)
            self._around.journal.say(about, "routing confirmed", wish.fingerprint)

    # ---- words -------------------------------------------------------------------------------

    def _say(self, state: RoutingState, detail: str = "") -> None:
        if (state, detail) != (self._state, self._detail):
            self._state, self._detail = state, detail
            self._around.poke()

    def _running(self) -> str:
        if not self._around.sessions.answers:
            return ""
        if self._on_trial is not None:
            return self._on_trial.fingerprint
        return self._policy.fingerprint or self._unconfirmed

    def _text(self, platform: Platform, sight: _Sight) -> str:
        return self._rendered.text(
            platform,
            Conditions(
                costs=self._around.costs.by_link(),
                permits=self._around.permits.by_node(),
                cold=sight.cold,
                hold_outside=sight.hold,
                interventions=self._interventions,
                now_ms=self._world.clock.unix_ms(),
                archive=self._archive(platform),
            ),
        )

    def _archive(self, platform: Platform | None) -> str:
        if platform is None or not platform.sessions_of(self._machine):
            return ""
        with self._around.problems.watch("MRT archive"):
            return self._world.archive.file(self._world.clock.unix_ms())
        return ""

    def _seconds_left(self, wish: WantedPolicy, sight: _Sight) -> float:
        """Return until when time alone changes nothing."""
        now_ms = self._world.clock.unix_ms()
        platform = self._policy.confirmed or wish.platform
        left = (next_instant_ms(platform, self._interventions, now_ms) - now_ms) / 1000
        if sight.cold:
            left = min(left, self._cold_until - self._world.clock.monotonic())
        return max(left, 0.0)
