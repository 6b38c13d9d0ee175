"""Whether what is wanted fits in after the loss of any one node, or datacenter. Pure.

Replicas of a lost node are placed again in its datacenter, as the planner would do it at once;
what runs in a lost datacenter is not placed again: others answer.
"""

from collections.abc import Iterator

from pltfrms.model.network.topology import Machine, Role
from pltfrms.model.running.foresight import Gap
from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.planner.foresight.answering import too_few_answer
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.drafting.loss import is_braked
from pltfrms.planner.placement.drafting.placement import Wish, place
from pltfrms.planner.redundancy.loads import Loads, service_loads


def n_minus_one(snapshot: Snapshot, loads: Loads | None = None) -> tuple[Gap, ...]:
    """Return what would be missing, first by node, then by datacenter; empty: nothing.

    `loads` are of another time, if the snapshot is not of now: what only begins in it was
    never measured. What is missing already is not told. The only node of a datacenter is lost
    with it; and where so many are lost already that one more stops all rescheduling, that is
    said elsewhere.
    """
    draft = Draft(snapshot)
    by_node: dict[str, list[Allocation]] = {}
    for allocation in snapshot.allocations.values():
        by_node.setdefault(allocation.node, []).append(allocation)
    nodes = (
        gap
        for node in snapshot.platform.machines_of(Role.NODE)
        if draft.contact(node.name) is Contact.PRESENT
        for gap in _without_node(draft, node, by_node.get(node.name, []))
    )
    found = service_loads(snapshot) if loads is None else loads
    return (*nodes, *_without_datacenter(draft), *too_few_answer(draft, found))


def _without_node(draft: Draft, node: Machine, held: list[Allocation]) -> Iterator[Gap]:
    others = [each for each in draft.open(node.datacenter) if each.name != node.name]
    alone = len(draft.present(node.datacenter)) == 1
    if alone or is_braked(draft, node.datacenter, more=1):
        return
    done, said = len(draft.steps), len(draft.notes)
    for wish in _wishes(draft, node, held):
        place(draft, wish, others)
    for step in draft.steps[done:]:
        draft.stop(step.allocation, step.reason)  # the next node is lost instead of this one
    for note in draft.notes[said:]:
        why = f"{note.reason.sentence} ({note.detail})" if note.detail else note.reason.sentence
        yield Gap(lost=f"node/{node.name}", about=note.about, why=why)


def _wishes(draft: Draft, node: Machine, held: list[Allocation]) -> Iterator[Wish]:
    """Yield what the planner wants to replace, in its order."""
    for allocation in sorted(held, key=lambda each: (each.service, each.replica)):
        service = draft.snapshot.services.get(allocation.service)
        if service is None:
            continue
        found = draft.kept(service, allocation.datacenter).get(allocation.replica, [])
        alive = [each for each in found if each.node != node.name and not draft.trouble(each)]
        if found and not alive:
            yield Wish(
                service=service,
                version=service.version_for(allocation.datacenter, allocation.replica),
                datacenter=allocation.datacenter,
                replica=allocation.replica,
                reason=Reason.NODE_LOST,
                replaces=found[-1],
            )


def _without_datacenter(draft: Draft) -> Iterator[Gap]:
    for name, service in sorted(draft.snapshot.services.items()):
        places = [place for place, count in draft.wanted(service).items() if count]
        if len(places) == 1:
            why = "no other datacenter is to run it"
            yield Gap(lost=f"datacenter/{places[0]}", about=f"service/{name}", why=why)
