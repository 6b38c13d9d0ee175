"""What operators do for a while: judged, committed and told of like any change of intent."""

from dataclasses import replace

from pltfrms.codec import encode
from pltfrms.controller.planning.judging import (
    Approved,
    Judgement,
    asked_by,
    audit,
    by_known,
    conditions,
    judge,
    require_allowed,
    require_approved,
    require_role,
    signed,
    why_two_people,
)
from pltfrms.controller.planning.loop import Controller
from pltfrms.controller.records.auditing import NOBODY, Asked, AuditLog
from pltfrms.controller.records.journal import EventLog
from pltfrms.controller.records.state import INTERVENTIONS_KEY, commit_mark
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import NotFoundError
from pltfrms.model.messages.api import InterventionChange, InterventionReply, Verb
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.running.state import Snapshot
from pltfrms.model.running.texts import shortened
from pltfrms.planner.changes.interventions import apply_intervention, named
from pltfrms.planner.placement.drafting.loss import releasable

_TOLD = {
    Verb.DRAIN: "drain begun",
    Verb.UNDRAIN: "drain ended",
    Verb.FREEZE: "network frozen",
    Verb.UNFREEZE: "network unfrozen",
    Verb.BLACKHOLE: "blackhole begun",
    Verb.UNBLACKHOLE: "blackhole ended",
    Verb.RELEASE: "brake released",
    Verb.HOLD: "brake holds again",
}


class Intervening:
    """Does to the network what operators want done to it for a while."""

    def __init__(self, controller: Controller, records: AuditLog) -> None:
        """Write as `controller`, and into `records` who asked for it."""
        self._name = controller.name
        self._store = controller.store
        self._clock = controller.clock
        self._view = controller.view
        self._journal = controller.journal
        self._records = records
        self._insisting = controller.insisting

    async def take(
        self,
        change: InterventionChange,
        approved: Approved | None = None,
        asked: Asked = NOBODY,
    ) -> InterventionReply:
        """Do it as one transaction, or only look if it is a dry run.

        Raises:
            ForbiddenError: it is not for the role of who asks.
            TwoPeopleError: a second operator must approve it, and none has.
            UsageError: the words make no sense.
            NotFoundError: what they name is not there.
            ConflictError: a guard forbids it that `change` does not name, or a brake is to be
                released that holds nothing.
            UnavailableError: the store does not answer; UnclearError if it may be done.
        """
        change = by_known(asked, change)

        async def attempt() -> InterventionReply | None:
            snapshot = await self._view.linearized()
            now_ms = self._clock.unix_ms()
            after = _intervened(snapshot, change, now_ms)
            judgement = judge(snapshot, after, now_ms)
            two = why_two_people(snapshot, after, judgement.verdicts, change.despite)
            reply = _reply(snapshot, after, judgement, two)
            if change.dry_run or not reply.changed:
                return reply
            about, overrides = (_about(change),), bool(change.despite)
            require_role(snapshot.platform, asked, approved, about, overrides=overrides)
            require_allowed(judgement.verdicts, change.despite)
            require_approved(two, approved, snapshot)
            beside = audit(self._journal, judgement.verdicts, change, approved)
            what = _what(change, snapshot.interventions, now_ms)
            nodes = _released(change, after.interventions)
            event = _event(self._journal, change, what, nodes)
            told = ": ".join(filter(None, [_about(change), what, nodes]))
            who = asked_by(change, approved, asked)
            sealed = await self._records.seal(change.verb.value, (told,), who)
            writes = [*self._writes(after.interventions), event, *beside, *sealed.writes]
            unchanged = (*conditions(snapshot, approved), sealed.condition)
            committed = await self._store.commit(writes, unchanged)
            if committed is not None:
                return replace(reply, revision=committed)
            return None

        return await self._insisting.until_done(attempt)

    def _writes(self, interventions: Interventions) -> list[Put]:
        return [
            commit_mark(self._name, self._clock.unix_ms()),
            Put(key=INTERVENTIONS_KEY, value=encode(interventions)),
        ]


def _intervened(snapshot: Snapshot, change: InterventionChange, now_ms: int) -> Snapshot:
    before, platform = snapshot.interventions, snapshot.platform
    lost = releasable(snapshot, change.datacenter) if change.verb is Verb.RELEASE else ()
    try:
        after = apply_intervention(before, platform, change, now_ms, lost)
    except NotFoundError:
        if not _over_already(snapshot, change, now_ms):
            raise
        return snapshot
    return replace(snapshot, interventions=after)


def _over_already(snapshot: Snapshot, change: InterventionChange, now_ms: int) -> bool:
    """Return whether nothing is there to end, and nothing else can be meant.

    So that ending something twice is no error, but a wrong name still is.
    """
    before = snapshot.interventions
    if change.verb is Verb.UNBLACKHOLE:
        return not any(now_ms < each.until_ms for each in before.blackholes)
    if any(
        mine == its != ""
        for drain in before.drains
        if not drain.is_over(now_ms)
        for mine, its in zip(named(change).place, drain.place, strict=True)
    ):
        return False
    begin = replace(change, verb=Verb.DRAIN)
    apply_intervention(before, snapshot.platform, begin, now_ms)  # refuses unknown names
    return True


def _reply(
    before: Snapshot, after: Snapshot, judgement: Judgement, two_people: str
) -> InterventionReply:
    return InterventionReply(
        revision=before.revision,
        changed=before.interventions != after.interventions,
        interventions=after.interventions,
        routing=judgement.routing,
        verdicts=judgement.verdicts,
        doubts=judgement.doubts,
        two_people=two_people,
    )


def _event(journal: EventLog, change: InterventionChange, what: str, nodes: str) -> Put:
    detail = "; ".join(filter(None, [shortened(nodes), signed(change.why, change.by)]))
    return journal.put(journal.tell(_about(change), what, detail=detail))


def _what(change: InterventionChange, before: Interventions, now_ms: int) -> str:
    if change.verb is Verb.DRAIN and change.since_ms:
        return "drain planned"
    if change.verb is Verb.UNDRAIN and not any(
        drain.place == named(change).place and drain.since_ms <= now_ms
        for drain in before.drains
    ):
        return "drain called off"
    return _TOLD[change.verb]


def _released(change: InterventionChange, after: Interventions) -> str:
    """Return the nodes that a release of a brake is for; empty: it is none."""
    if change.verb is not Verb.RELEASE:
        return ""
    return ", ".join(
        node
        for release in after.releases
        if release.datacenter == change.datacenter
        for node in release.nodes
    )


def _about(change: InterventionChange) -> str:
    if change.verb in {Verb.DRAIN, Verb.UNDRAIN}:
        return f"drain/{named(change).about}"
    if change.verb in {Verb.RELEASE, Verb.HOLD}:
        return f"brake/{change.datacenter}"
    return f"blackhole/{change.prefix}" if change.prefix else "network"
