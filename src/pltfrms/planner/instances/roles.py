"""Decide which instances of a node have which roles of their services. Pure.

An instance says itself that it has a role. It has it then, unless somebody else says so, too,
with a better right: nothing here asks a controller, or waits for one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import RoleState, RoleStatus
from pltfrms.model.services.roles import EPOCH_MAX, claim_of, epoch_of
from pltfrms.model.services.service import RoleSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSaid:
    """What an instance says of a role."""

    has: bool = False
    epoch: int = 0
    failures: int = 0
    """In a row."""
    words: str = ""
    """How it said that it has it not."""
    known: bool = True
    """False: it was not asked by us yet, and this is what was announced before us."""


NOTHING_SAID: Final = RoleSaid(words="it has not answered yet", known=False)


def asked(before: RoleSaid, role: RoleSpec, answer: ProbeAnswer) -> RoleSaid:
    """Return what an instance says after one more question."""
    failure = answer.failure
    if not failure and answer.epoch is None and has_epochs(role):
        failure = "it says that it has the role, and no epoch that is a number"
    if not failure:
        return RoleSaid(has=True, epoch=answer.epoch or 0)
    failures = before.failures + 1
    if before.has and failures < role.probe.fall:
        return replace(before, failures=failures)
    # What it says may change each time: what is kept is how it began.
    words = before.words if before.known and not before.has and before.words else failure
    return RoleSaid(failures=min(failures, role.probe.fall), words=words)


def has_epochs(role: RoleSpec) -> bool:
    """Return whether instances are to say an epoch with a role."""
    return bool(role.probe.epoch)


def decide_role(
    said: Mapping[str, tuple[RoleSpec, RoleSaid]],
    place: tuple[int, int],
    heard: int,
    floor: int,
) -> dict[str, RoleStatus]:
    """Return who has a role, and why, by allocation.

    `said` are the instances of this node, each with the role as its own version of the service
    has it, `place` the ids of the datacenter and of the node,
    `heard` is the highest claim of any other node (0: none), and `floor` the highest epoch
    that anybody is known to have had.
    """
    has = sorted(name for name, (_, each) in said.items() if each.has)
    first = min(has, key=lambda name: -said[name][1].epoch, default="")
    found: dict[str, RoleStatus] = {}
    for name, (role, each) in said.items():
        if not each.has:
            found[name] = _status(role, RoleState.NONE, Reason.ROLE_NOT_SAID, None, each.words)
            continue
        epoch = each.epoch if has_epochs(role) else None
        state, reason = RoleState.HELD, Reason.ROLE_SAID
        if not role.shared:
            here = claim_of(said[first][1].epoch, *place) + 1 if name != first else 0
            best = max(heard, here)
            reason = _right(claim_of(each.epoch, *place), each.epoch, best, floor)
            state = RoleState.HELD if reason is Reason.ROLE_SAID else RoleState.YIELDED
        if state is RoleState.HELD and not each.known:
            reason = Reason.ROLE_FOUND
        found[name] = _status(role, state, reason, epoch, _words(each.epoch))
    return found


def _right(claim: int, epoch: int, best: int, floor: int) -> Reason:
    """Return why a claim is good, or is not."""
    highest = max(floor, epoch_of(best) if best else 0)
    if min(epoch, EPOCH_MAX) < highest:
        return Reason.ROLE_SURPASSED
    return Reason.ROLE_CONTESTED if best > claim else Reason.ROLE_SAID


def _words(epoch: int) -> str:
    more = epoch > EPOCH_MAX
    return f"epoch {epoch} counts as {EPOCH_MAX}, as every higher one" if more else ""


def _status(
    role: RoleSpec, state: RoleState, reason: Reason, epoch: int | None, detail: str
) -> RoleStatus:
    return RoleStatus(
        role=role.name,
        state=state,
        reason=reason,
        epoch=epoch,
        shared=role.shared,
        detail=detail,
    )
