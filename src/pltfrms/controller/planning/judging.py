"""What a change does to routing, what guards say of it, and who overrode them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from pltfrms.codec import encode
from pltfrms.controller.records.auditing import Asked
from pltfrms.controller.records.documents import read_documents
from pltfrms.controller.records.journal import EventLog
from pltfrms.controller.records.state import SIGNERS, request_key, unchanged_since
from pltfrms.drivers.store.ports import Condition, Put, Store
from pltfrms.errors import ConflictError, ForbiddenError, TwoPeopleError
from pltfrms.model.identity.words import SigningNote
from pltfrms.model.messages.api import Change, InterventionChange, RolloutChange, Verb
from pltfrms.model.messages.guards import Doubt, Guard, RoutingChange, Verdict
from pltfrms.model.messages.requests import ChangeRequest, Wanted
from pltfrms.model.messages.secrets import SecretChange, SecretsKeyChange
from pltfrms.model.network.topology import Admission, Guards, Platform
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.changes.guards import doubts_of, make_proposal, verdicts_of
from pltfrms.planner.changes.maintenance import judge_maintenance
from pltfrms.planner.changes.origins import Answers, Claim, claims, judge_claims
from pltfrms.planner.changes.removals import judge_removals, judge_signers
from pltfrms.planner.changes.routing_diff import routing_changes
from pltfrms.planner.changes.two_people import why_two
from pltfrms.planner.changes.ways import measured
from pltfrms.planner.identity.roles import Known, roles_hold, why_not_changed
from pltfrms.planner.placement.drafting.loss import releasable

_Wish = TypeVar(
    "_Wish", Change, InterventionChange, RolloutChange, SecretChange, SecretsKeyChange
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What neighbours will see of a change, and what speaks against it."""

    routing: tuple[RoutingChange, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    """What guards cannot judge."""
    claims: tuple[Claim, ...] = ()
    """What is announced for the first time, of which RPKI has not been asked yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """A change request that a second operator has approved, and is to be done."""

    request: ChangeRequest
    """As it will be: closed."""
    wanted: Wanted
    """What its text says."""
    mod_revision: int
    """Of the request as it was found."""

    @property
    def who(self) -> str:
        """Both operators, for the audit."""
        return f"{self.request.by}, approved by {self.request.closed_by}"

    @property
    def write(self) -> Put:
        """The write that closes the request, in the transaction of the change itself."""
        return Put(key=request_key(self.request.id), value=encode(self.request))

    @property
    def condition(self) -> Condition:
        """The condition that nobody else has closed the request."""
        return Condition(key=request_key(self.request.id), mod_revision=self.mod_revision)


def conditions(snapshot: Snapshot, approved: Approved | None) -> tuple[Condition, ...]:
    """Return under which conditions a change that was judged may be written."""
    unchanged = unchanged_since(snapshot.revision)
    return (unchanged, approved.condition) if approved else (unchanged,)


def judge(before: Snapshot, after: Snapshot, now_ms: int) -> Judgement:
    """Return what going from one snapshot to another does to routing.

    Only a change of intent counts, of the platform or of the interventions: if neither
    differs, nothing does.
    """
    if (before.platform, before.interventions) == (after.platform, after.interventions):
        return Judgement()
    platforms = (before.platform, after.platform)
    interventions = (before.interventions, after.interventions)
    proposal = make_proposal(*platforms, *interventions, now_ms, measured(before))
    return Judgement(
        routing=routing_changes(*platforms, *interventions, now_ms),
        verdicts=(
            *verdicts_of(proposal),
            *judge_maintenance(before, after, now_ms),
            *judge_removals(before, after, now_ms),
        ),
        doubts=doubts_of(proposal),
        claims=claims(proposal),
    )


async def judge_leaving(
    store: Store, before: Platform, after: Platform, now_ms: int
) -> tuple[Verdict, ...]:
    """Return what speaks against taking out controllers, by what they have told."""
    if before.machines == after.machines:
        return ()
    found = read_documents(SigningNote, (await store.list(SIGNERS)).entries).words
    until_ms = {note.controller: note.until_ms for note in found.values()}
    return judge_signers(before, after, until_ms, now_ms)


def with_origins(judgement: Judgement, answers: Answers, silence: str) -> Judgement:
    """Return a judgement of which RPKI has been asked; see `judge_claims`."""
    verdicts, doubts = judge_claims(judgement.claims, answers, silence)
    return replace(
        judgement,
        verdicts=(*judgement.verdicts, *verdicts),
        doubts=(*judgement.doubts, *doubts),
        claims=(),
    )


def with_admission(
    judgement: Judgement, found: tuple[Verdict, ...], guards: Guards
) -> Judgement:
    """Return a judgement with what `judge_admission` found; the platform says its weight."""
    if guards.n1_admission is Admission.REFUSE:
        return replace(judgement, verdicts=(*judgement.verdicts, *found))
    doubts = (Doubt(guard=v.guard, about=v.about, sentence=v.sentence) for v in found)
    return replace(judgement, doubts=(*judgement.doubts, *doubts))


def require_allowed(verdicts: Iterable[Verdict], despite: Iterable[Guard]) -> None:
    """Refuse a change that a guard forbids, unless the operator named that guard.

    Raises:
        ConflictError: says every guard, its numbers, and how to override it.
    """
    overridden = set(despite)
    left = [verdict for verdict in verdicts if verdict.guard not in overridden]
    if not left:
        return
    lines = [f"  {v.guard.value}: {v.about}: {v.sentence}" for v in left]
    guards = dict.fromkeys(verdict.guard.value for verdict in left)
    flags = " ".join(f"--yes-i-mean {guard}" for guard in guards)
    raise ConflictError(
        "\n".join(
            ["guards forbid it, and nothing was changed:", *lines, f"to do it anyway: {flags}"]
        )
    )


def why_two_people(
    before: Snapshot, after: Snapshot, verdicts: Iterable[Verdict], despite: Iterable[Guard]
) -> str:
    """Return why a change needs a second operator; empty: it does not."""
    return why_two(before, after, {verdict.guard for verdict in verdicts} & set(despite))


def basis_of(snapshot: Snapshot, wanted: Wanted) -> str:
    """Return a fingerprint of what a change replaces, so that both saw the same of it.

    Of the release of a brake these are the nodes: the second one says that they are dead.
    """
    change = wanted.change or Change()
    services = [snapshot.services.get(spec.name) for spec in change.services]
    jobs = [snapshot.jobs.get(spec.name) for spec in change.jobs]
    parts = [encode(snapshot.platform), *(encode(each) for each in services if each)]
    parts += [encode(each.spec) for each in jobs if each]
    if wanted.intervention and wanted.intervention.verb is Verb.RELEASE:
        parts += map(str.encode, releasable(snapshot, wanted.intervention.datacenter))
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def require_approved(two_people: str, approved: Approved | None, snapshot: Snapshot) -> None:
    """Refuse what needs a second operator, unless one has approved it as it is now.

    Raises:
        TwoPeopleError: says why it needs one.
        ConflictError: what it changes is not any more as it was when it was asked for.
    """
    if approved and basis_of(snapshot, approved.wanted) != approved.request.basis:
        raise ConflictError(
            "what it changes has been changed since it was asked for: withdraw it, and ask "
            "again"
        )
    if two_people and not approved:
        raise TwoPeopleError(
            f"a second operator must approve it, because {two_people}; nothing was changed"
        )


def require_role(
    platform: Platform,
    asked: Asked,
    approved: Approved | None,
    about: Iterable[str],
    *,
    overrides: bool,
) -> None:
    """Refuse what the roles of those who want it do not allow, once roles hold.

    Of a change that two have signed, of both. `about` is as `why_not_changed` has it.

    Raises:
        ForbiddenError: says who may.
    """
    things = tuple(about)
    if not things or not roles_hold(platform):
        return
    if approved:
        names = [approved.request.by, approved.request.closed_by]
    elif asked.proved in {Known.ROOT, Known.CERTIFICATE}:
        return
    elif asked.proved == Known.LOGIN:
        names = [asked.by]
    else:
        raise ForbiddenError("who may change that is said by roles: log in, pltfrms login")
    known = {operator.name: operator for operator in platform.operators}
    for name in names:
        why = why_not_changed(known.get(name), things, overrides=overrides)
        if why:
            raise ForbiddenError(why)


def by_known(asked: Asked, wish: _Wish) -> _Wish:
    """Return a wish with the name of who is known to have it, whatever it says itself."""
    return replace(wish, by=asked.by) if asked.proved == Known.LOGIN else wish


def audit(
    journal: EventLog,
    verdicts: Iterable[Verdict],
    change: Change | InterventionChange,
    approved: Approved | None,
) -> list[Put]:
    """Return what is written beside a change: which guards were overridden, who approved it."""
    overridden = set(change.despite)
    said: dict[Guard, list[str]] = {}
    for verdict in verdicts:
        if verdict.guard in overridden:
            said.setdefault(verdict.guard, []).append(f"{verdict.about}: {verdict.sentence}")
    events = [
        journal.tell(
            f"guard/{guard.value}",
            "guard overridden",
            detail=signed("; ".join(sentences), change.by),
        )
        for guard, sentences in said.items()
    ]
    if approved:
        request = approved.request
        about = f"request/{request.id}"
        events.append(
            journal.tell(about, "request approved", detail=signed(request.about, approved.who))
        )
    writes = [journal.put(event) for event in events]
    return [*writes, approved.write] if approved else writes


def asked_by(
    change: Change | InterventionChange | RolloutChange,
    approved: Approved | None,
    asked: Asked,
) -> Asked:
    """Return who asks for a change, and how that is known."""
    if approved is None:
        return replace(asked, by=asked.by or change.by, why=change.why)
    request = approved.request
    return Asked(
        by=request.by,
        proved="signature",
        approved_by=request.closed_by,
        why=change.why,
        origin=asked.origin,
    )


def signed(text: str, by: str) -> str:
    """Return a sentence for the audit with who did it, if that is known."""
    return "; ".join(part for part in (text, f"by {by}" if by else "") if part)
