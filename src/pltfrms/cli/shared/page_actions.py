"""What may be done from the page: looked at first, then done with a reason, as the operator.

Each is shown as a dry run; only what was shown can be done, once, by the ticket of that look.
Guards are not overridden here, and nothing is applied or deleted: for these there are commands.
"""

import shlex
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import ConflictError, UsageError
from pltfrms.model.messages.api import (
    InterventionChange,
    InterventionReply,
    RolloutChange,
    RolloutVerb,
    Verb,
)
from pltfrms.model.messages.requests import RequestReply, RequestState, Withdrawal
from pltfrms.model.services.rollouts import where_of

_TICKETS_MAX: Final = 32
_WHY_MAX: Final = 200
_DRAINS: Final = {"drain": Verb.DRAIN, "undrain": Verb.UNDRAIN}
_ROLLOUTS: Final = {
    each.value: each
    for each in (RolloutVerb.PAUSE, RolloutVerb.RESUME, RolloutVerb.PROMOTE, RolloutVerb.ABORT)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAction:
    """What somebody at the page wants done."""

    verb: str
    """`drain`, `undrain`, `freeze`, `pause`, `resume`, `promote`, `abort`, `withdraw`."""
    kind: str = ""
    """Of what: `edge`, `node`, `datacenter`, `peer`, `service`, `request`; a freeze: empty."""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLook:
    """What it would do."""

    ticket: str
    """With it, this is done; empty: it cannot be done from here."""
    lines: tuple[str, ...]
    """What would happen, a sentence each."""
    refused: str
    """Why it cannot be done from here; empty: it can."""
    command: str
    """The command that does the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageWish:
    """A yes to what was looked at."""

    ticket: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageDone:
    """What became of it."""

    sentence: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was looked at: how it is done for a reason, and what is said then."""

    do: Callable[[str], str]
    lines: tuple[str, ...]
    refused: str = ""


class PageActions:
    """Asks controllers to do what one operator wants."""

    def __init__(self, client: OperatorClient, by: str, secret: Callable[[], str]) -> None:
        """Act as `by`, unless a login says who it is; `secret` as in `PageServer`."""
        self._client = client
        self.by = by
        self._secret = secret
        self._tickets: OrderedDict[str, Callable[[str], str]] = OrderedDict()

    def look(self, action: PageAction) -> PageLook:
        """Return what it would do, and the ticket with which it is done.

        Raises:
            UsageError: nothing like that is done from the page.
            PltfrmsError: what a controller answers.
        """
        seen = self._seen(action)
        ticket = "" if seen.refused else self._secret()
        if ticket:
            self._tickets[ticket] = seen.do
            while len(self._tickets) > _TICKETS_MAX:
                self._tickets.popitem(last=False)
        return PageLook(
            ticket=ticket, lines=seen.lines, refused=seen.refused, command=_command(action)
        )

    def do(self, wish: PageWish) -> PageDone:
        """Do what was looked at, once.

        Raises:
            UsageError: there is no reason.
            ConflictError: it was not looked at, or is done already.
            PltfrmsError: what a controller answers.
        """
        why = wish.why.strip()
        if not why or len(why) > _WHY_MAX:
            raise UsageError(f"say why, in at most {_WHY_MAX} letters")
        do = self._tickets.pop(wish.ticket, None)
        if do is None:
            raise ConflictError("this was done already, or was not looked at: look again")
        return PageDone(sentence=do(why))

    def _seen(self, action: PageAction) -> _Seen:
        if action.verb in _DRAINS and action.kind in _DRAINED and action.name:
            return self._intervention(_DRAINED[action.kind](_DRAINS[action.verb], action.name))
        if action == PageAction(verb="freeze"):
            return self._intervention(InterventionChange(verb=Verb.FREEZE))
        if action.verb in _ROLLOUTS and action.kind == "service":
            return self._rollout(_ROLLOUTS[action.verb], action.name)
        if action.verb == "withdraw" and action.kind == "request":
            return self._withdrawal(action.name)
        raise UsageError(f"nothing like {action.verb} {action.kind} is done from the page")

    # ---- one for each kind -----------------------------------------------------------------

    def _intervention(self, change: InterventionChange) -> _Seen:
        change = replace(change, by=self.by)
        reply = self._client.intervene(replace(change, dry_run=True))

        def do(why: str) -> str:
            if _effect(self._client.intervene(replace(change, dry_run=True))) != _effect(reply):
                raise ConflictError("it would do something else by now: look again")
            done = self._client.intervene(replace(change, why=why))
            return f"done, revision {done.revision}"

        return _Seen(do, _routing_lines(reply), _why_not(reply))

    def _rollout(self, verb: RolloutVerb, name: str) -> _Seen:
        service = self._client.snapshot().last_known.service(name)
        at = where_of(service)
        change = RolloutChange(verb=verb, service=name, by=self.by, seen=at)

        def do(why: str) -> str:
            done = self._client.change_rollout(replace(change, why=why))
            return f"done, revision {done.revision}"

        refused = "" if service.rolling else "there is no rollout under way"
        return _Seen(do, (f"{name} is at {at}", _ROLLOUT_WORDS[verb]), refused)

    def _withdrawal(self, request: str) -> _Seen:
        asked = self._client.requested(request)

        def do(why: str) -> str:
            said = Withdrawal(by=self.by, why=why)
            return f"withdrawn: {self._client.withdraw(request, said).about}"

        state = asked.request.state
        closed = {RequestState.APPROVED, RequestState.WITHDRAWN}
        refused = f"it is {state.value} already" if state in closed else ""
        return _Seen(do, _request_lines(asked), refused)


_DRAINED: Final[Mapping[str, Callable[[Verb, str], InterventionChange]]] = {
    "edge": lambda verb, name: InterventionChange(verb=verb, edge=name),
    "node": lambda verb, name: InterventionChange(verb=verb, node=name),
    "datacenter": lambda verb, name: InterventionChange(verb=verb, datacenter=name),
    "peer": lambda verb, name: InterventionChange(verb=verb, peer=name),
}
_ROLLOUT_WORDS: Final[Mapping[RolloutVerb, str]] = {
    RolloutVerb.PAUSE: "it is held there: it goes neither on nor back",
    RolloutVerb.RESUME: "it goes on; its stage bakes anew",
    RolloutVerb.PROMOTE: "its next stage begins now",
    RolloutVerb.ABORT: "it goes back to the version before",
}


def _routing_lines(reply: InterventionReply) -> tuple[str, ...]:
    changes = (f"{each.session}: {each.what}: {each.effect.value}" for each in reply.routing)
    guards = (f"! {v.guard.value}: {v.about}: {v.sentence}" for v in reply.verdicts)
    doubts = (f"? {d.guard.value}: {d.about}: {d.sentence}" for d in reply.doubts)
    said = (*changes, *guards, *doubts)
    return said or ("no session with the outside changes",)


def _effect(reply: InterventionReply) -> tuple[object, ...]:
    """Return what it does and what is against it, without the numbers in sentences."""
    against = {(each.guard, each.about) for each in reply.verdicts}
    doubts = {(each.guard, each.about) for each in reply.doubts}
    return set(reply.routing), against, doubts, bool(reply.two_people), reply.changed


def _why_not(reply: InterventionReply) -> str:
    if reply.verdicts:
        return "guards forbid it; the command says how to do it in spite of them"
    if reply.two_people:
        return (
            f"a second operator must approve it, because {reply.two_people}; the command asks"
        )
    return "" if reply.changed else "it is so already"


def _request_lines(asked: RequestReply) -> tuple[str, ...]:
    request = asked.request
    lines = [f"asked for by {request.by}: {request.about}", "it is closed without being done"]
    return (*lines, *(_routing_lines(asked.reply) if asked.reply else ()))


def _command(action: PageAction) -> str:
    words = {
        "freeze": ("network", "freeze"),
        "withdraw": ("request", "withdraw", action.name),
        **{verb: ("rollout", verb, action.name) for verb in _ROLLOUTS},
        **{verb: (action.kind, verb, action.name) for verb in _DRAINS},
    }[action.verb]
    return shlex.join(("pltfrms", *words, "--why", "..."))
