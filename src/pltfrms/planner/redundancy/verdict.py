"""Whether the platform survives one more failure, and if not, which and why. Pure.

A service survives what leaves, for each of its prefixes, an edge that announces it now and
reaches a ready instance, and as many of those as its load needs, as far as that is known. Each
question is asked twice, of the platform as it is at least and at most: where the answers
differ, it is not known.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Final

from pltfrms.model.running.redundancy import ESSENTIAL, Redundancy, Survival, Weakness
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.redundancy.beliefs import beliefs_of
from pltfrms.planner.redundancy.ground import aggregates, backbone, store
from pltfrms.planner.redundancy.loads import Loads, service_loads
from pltfrms.planner.redundancy.services import datacenters, services

_ORDER: Final = (Survival.NOT_SURVIVED, Survival.NOT_KNOWN, Survival.SURVIVED)


def redundancy(snapshot: Snapshot, now_ms: int, loads: Loads | None = None) -> Redundancy:
    """Return the verdict on what is known of a platform at a Unix time.

    `loads` are of another time, if the snapshot is not of now.
    """
    loads = service_loads(snapshot) if loads is None else loads
    beliefs = beliefs_of(snapshot, now_ms)
    ordered = [service for _, service in sorted(snapshot.services.items())]
    found = dict(
        chain(
            services(ordered, beliefs, loads),
            aggregates(beliefs),
            store(beliefs),
            datacenters(ordered, beliefs),
            backbone(beliefs),
        )
    )
    essential = (found[about] for about in found if about.startswith(ESSENTIAL))
    weaknesses = sorted(chain(*found.values()), key=lambda each: _ORDER.index(each.survival))
    return Redundancy(
        survival=_worst(chain(*essential)),
        by_subject={about: _worst(lines) for about, lines in found.items()},
        weaknesses=tuple(weaknesses),
        loads=tuple(load for service in ordered for load in loads.get(service.name, ())),
    )


def _worst(found: Iterable[Weakness]) -> Survival:
    survivals = (each.survival for each in found)
    return min(survivals, key=_ORDER.index, default=Survival.SURVIVED)
