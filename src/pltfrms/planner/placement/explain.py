"""Say in sentences why a service is where it is, and what is missing."""

from collections.abc import Iterator
from ipaddress import ip_network

from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Allocation, Note
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.model.services.replicas import replicas_text
from pltfrms.model.services.service import Scale, Service
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.plan import make_plan
from pltfrms.planner.placement.roles import is_held, roles_of, unheard
from pltfrms.planner.placement.rollout_words import rollout_words
from pltfrms.planner.placement.steps.scaling import use_of, use_words, wanted_words

_CONTACT_SENTENCES = {
    Contact.PRESENT: "",
    Contact.LOST: "; the node is out of contact, so this is the last that is known",
    Contact.UNKNOWN: "; contact with the node is not judged yet",
}


def explain_service(snapshot: Snapshot, name: str) -> tuple[str, ...]:
    """Return sentences: wanted, where and why each replica is, what is missing, who announces.

    Raises:
        NotFoundError: there is no such service.
    """
    service = snapshot.service(name)
    draft = Draft(snapshot)
    notes = make_plan(snapshot).notes
    wanted = draft.wanted(service)
    sentences = [
        (
            f"{name}: {replicas_text(service.spread, wanted)}, at most "
            f"{service.spec.max_per_node} per node; version {service.version}."
        ),
        f"{name}: its prefixes are {' and '.join(map(str, service.prefixes))}.",
    ]
    sentences += _explain_roles(snapshot, service)
    if service.rollout:
        sentences.append(f"{name}: rollout of {rollout_words(snapshot, service)}.")
    if service.spec.scale:
        sentences += _explain_scale(draft, service, service.spec.scale)
    for datacenter, count in wanted.items():
        sentences += _explain_datacenter(draft, service, datacenter, count, notes)
    sentences += _explain_surplus(draft, service)
    about = {*wanted, *(f"{name}.{datacenter}" for datacenter in wanted)}
    sentences += [f"{note.about}: {_note(note)}." for note in notes if note.about in about]
    return (*sentences, *_explain_announcements(snapshot, service))


def _explain_roles(snapshot: Snapshot, service: Service) -> Iterator[str]:
    """Say of every role of the spec where it answers, and what each instance is to it."""
    wanted = {role.name for role in service.spec.roles}
    for role in service.roles:
        if role.name not in wanted:
            continue
        where = " and ".join(map(str, role.prefixes))
        said = [each for each in roles_of(snapshot, service.name) if each[1].role == role.name]
        unknown = unheard(snapshot, service.name, role.name)
        nobody = "; whether anybody has it is not known" if unknown else "; nobody has it"
        if any(is_held(each) for each in said):
            nobody = ""
        yield f"{service.name}: role {role.name} is at {where}{nobody}."
        for allocation, status in said:
            yield f"{allocation.id}: {status.sentence}{_contact(snapshot, allocation.node)}."


def _explain_scale(draft: Draft, service: Service, scale: Scale) -> list[str]:
    """Say within which bounds the load decides, and how busy instances are."""
    said = f"{scale.min} to {scale.max} replicas by datacenter, for {wanted_words(scale)}"
    sentences = [f"{service.name}: {said}."]
    for datacenter, count in draft.wanted(service).items():
        use = use_of(draft, service, datacenter)
        how = use_words(use) if use else "of which not all say how busy they are"
        sentences.append(f"{service.name}.{datacenter}: {count} replicas, {how}.")
    return sentences


def _explain_datacenter(
    draft: Draft, service: Service, datacenter: str, count: int, notes: tuple[Note, ...]
) -> list[str]:
    sentences = []
    replicas = draft.replicas(service.name, datacenter)
    for replica in range(1, count + 1):
        about = f"{service.name}.{datacenter}.{replica}"
        allocations = replicas.get(replica, [])
        sentences += [_explain_allocation(draft.snapshot, a) for a in allocations]
        missing = [f"{about}: cannot be placed: {_note(n)}." for n in notes if n.about == about]
        if not allocations and not missing:
            missing = [f"{about}: is about to be placed."]
        sentences += missing
    return sentences


def _explain_surplus(draft: Draft, service: Service) -> list[str]:
    """Say what stands in until all that are wanted serve where they are wanted."""
    wanted = draft.wanted(service)
    return [
        f"{allocation.id}: not wanted in {datacenter}, serves until all "
        f"{service.spec.total} serve elsewhere; {_state(draft.snapshot, allocation)}."
        for name, datacenter in draft.sites()
        if name == service.name and service.spec.total
        for replica, allocations in sorted(draft.replicas(name, datacenter).items())
        if replica > wanted.get(datacenter, 0)
        for allocation in allocations
    ]


def _explain_allocation(snapshot: Snapshot, allocation: Allocation) -> str:
    replaces = f" (replaces {allocation.replaces})" if allocation.replaces else ""
    return (
        f"{allocation.id}: on {allocation.node} because {allocation.reason.sentence}"
        f"{replaces}; version {allocation.version}; {_state(snapshot, allocation)}"
        f"{_contact(snapshot, allocation.node)}."
    )


def _contact(snapshot: Snapshot, machine: str) -> str:
    view = snapshot.machines.get(machine)
    if view and view.contact is Contact.UNKNOWN and view.why:
        return f"; whether the node lives is not known: {view.why}"
    return _CONTACT_SENTENCES[snapshot.contact(machine)]


def _state(snapshot: Snapshot, allocation: Allocation) -> str:
    instance = snapshot.instance(allocation.id)
    if instance is None:
        return "its agent has not reported it yet"
    restarts = f", restarted {instance.restarts} times" if instance.restarts else ""
    detail = f" ({instance.detail})" if instance.detail else ""
    is_new = instance.failure and instance.failure not in instance.detail
    failure = f"; it failed before: {instance.failure}" if is_new else ""
    return f"{instance.phase}{restarts}{detail}{failure}"


def _note(note: Note) -> str:
    return f"{note.reason.sentence}; {note.detail}" if note.detail else note.reason.sentence


def _explain_announcements(snapshot: Snapshot, service: Service) -> list[str]:
    """Say of every edge whether it announces an aggregate that contains a prefix of ours."""
    mine = {
        str(aggregate.prefix)
        for aggregate in snapshot.platform.aggregates
        for prefix in service.prefixes
        if aggregate.prefix.version == prefix.version
        and prefix.network_address in ip_network(aggregate.prefix)
    }
    sentences = []
    for edge in snapshot.platform.machines_of(Role.EDGE):
        here = {str(a.prefix) for a in snapshot.platform.aggregates_of(edge.datacenter)}
        if mine.isdisjoint(here):
            sentences.append(f"{edge.name}: none of its aggregates is announced here.")
            continue
        if edge.external:
            sentences.append(f"{edge.name}: others manage it; what it announces is not known.")
            continue
        status = snapshot.statuses.get(edge.name)
        known = [a for a in status.aggregates if a.prefix in mine] if status else []
        sentences += [
            f"{edge.name}: {'announces' if a.announced else 'does not announce'} {a.prefix}: "
            f"{a.reason.sentence}{_CONTACT_SENTENCES[snapshot.contact(edge.name)]}."
            for a in known
        ]
        if not known:
            sentences.append(f"{edge.name}: has not reported what it announces.")
    return sentences
