"""Which changes one operator alone may not make. Pure."""

from collections.abc import Collection

from pltfrms.model.messages.guards import Guard
from pltfrms.model.messages.requests import Wanted
from pltfrms.model.network.topology import TwoPeople
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.changes.interventions import named


def why_two(before: Snapshot, after: Snapshot, overridden: Collection[Guard]) -> str:
    """Return why going from one snapshot to another needs a second operator.

    Empty: it does not. `overridden` are the guards that forbid it and are overridden. The
    rules are those of the snapshot before; a change of the rules themselves, or of who the
    operators are, needs two as soon as there is any rule. To end a drain, a blackhole or a
    freeze never does, nor to freeze, or to have a brake hold: whoever sees that something goes
    wrong may stop it.
    """
    rules = before.platform.guards.two_people
    old, new = before.interventions, after.interventions
    begun = [f"drains {each.about}" for each in new.drains if each not in old.drains]
    dropped = [
        f"blackholes {each.prefix}" for each in new.blackholes if each not in old.blackholes
    ]
    overrides = [f"overrides {guard}" for guard in sorted(overridden)]
    overrides += [
        f"releases the brake of {each.datacenter}"
        for each in new.releases
        if each not in old.releases
    ]
    reasons = {
        TwoPeople.PLATFORM: ["changes the platform"] * (before.platform != after.platform),
        TwoPeople.DRAINS: begun,
        TwoPeople.BLACKHOLES: dropped,
        TwoPeople.OVERRIDES: overrides,
    }
    found = [reason for rule in rules for reason in reasons[rule]]
    if rules and not found and _who_may(before) != _who_may(after):
        found = ["changes who must approve what"]
    return f"it {' and '.join(found)}" if found else ""


def wanted_sentence(wanted: Wanted) -> str:
    """Return what somebody wants, in a sentence."""
    words, despite = [], wanted.change.despite if wanted.change else ()
    if wanted.change:
        platform = ["platform"] * (wanted.change.platform is not None)
        services = [f"service/{spec.name}" for spec in wanted.change.services]
        jobs = [f"job/{spec.name}" for spec in wanted.change.jobs]
        words.append(f"apply {', '.join([*platform, *services, *jobs])}")
    if wanted.change and wanted.change.prune:
        words.append(f"delete what else is {'='.join(wanted.change.prune)}")
    if wanted.intervention:
        about = wanted.intervention.prefix or named(wanted.intervention).about
        words += [f"{wanted.intervention.verb} {about}", wanted.intervention.why]
        despite = wanted.intervention.despite
    guards = f"despite {', '.join(despite)}" if despite else ""
    return "; ".join(part for part in (*words, guards) if part)


def _who_may(snapshot: Snapshot) -> tuple[object, ...]:
    return snapshot.platform.operators, snapshot.platform.guards.two_people
