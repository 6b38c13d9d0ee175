"""Platforms with edges that others manage."""

from dataclasses import replace

from pltfrms.model.network.topology import Machine, Role
from tests.render.platforms import SMALL, machine


def _external(name: str, datacenter: str, number: int) -> Machine:
    return Machine(name=name, datacenter=datacenter, role=Role.EDGE, id=number, external=True)


OTHERS = replace(
    SMALL,
    machines=(
        _external("fra-x3", "fra", 3),
        machine("fra-n1", "fra", Role.NODE, 1),
        machine("fra-n2", "fra", Role.NODE, 2),
        machine("ams-e1", "ams", Role.EDGE, 1),
        _external("ams-x2", "ams", 2),
        machine("ams-n1", "ams", Role.NODE, 1),
        machine("ams-c1", "ams", Role.CONTROLLER, 1),
    ),
    links=(),
    peers=(),
)
"""One datacenter where others manage every edge, and one with an edge of either kind."""
