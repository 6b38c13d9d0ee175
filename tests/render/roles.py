"""Platforms whose machines have several roles, for tests of many parts."""

from dataclasses import replace

from pltfrms.model.network.links import Link
from pltfrms.model.network.topology import Datacenter, FurtherRole, Machine, Platform, Role
from tests.render.platforms import SMALL

MIB = 1024 * 1024
ALL_ROLES = (Role.EDGE, Role.NODE, Role.CONTROLLER)


def server(name: str, number: int, *roles: Role, datacenter: str = "") -> Machine:
    """Return a machine with these roles, the main one first."""
    main, *others = roles or ALL_ROLES
    return Machine(
        name=name,
        datacenter=datacenter or name[:3],
        role=main,
        id=number,
        further=tuple(FurtherRole(role=role, id=number) for role in others),
        cpu=4.0,
        memory_bytes=8192 * MIB,
    )


def triangle(*machines: Machine) -> Platform:
    """Return one datacenter per server, joined by links, without fabrics and peers."""
    names = [machine.name for machine in machines]
    return replace(
        SMALL,
        name="servers",
        datacenters=tuple(
            Datacenter(name=machine.datacenter, id=number, fabrics=())
            for number, machine in enumerate(machines, 1)
        ),
        machines=machines,
        links=tuple(Link(a=a, b=b) for a, b in zip(names, [*names[1:], names[0]], strict=True)),
        peers=(),
    )


THREE = triangle(server("fra1", 1), server("ams1", 1), server("lon1", 1))
"""One server at each of three sites: edge, node and controller."""

PAIR = replace(
    SMALL,
    name="pair",
    datacenters=(
        Datacenter(name="fra", id=1, fabrics=("a", "b")),
        Datacenter(name="ams", id=2, fabrics=()),
    ),
    machines=(
        server("fra1", 1),
        server("fra2", 2, Role.EDGE, Role.NODE),
        server("ams1", 1),
    ),
    links=(Link(a="fra1", b="ams1"), Link(a="fra2", b="ams1")),
    peers=(),
)
"""Two servers in one place, one in another."""

MIXED = replace(
    SMALL,
    name="mixed",
    machines=(
        server("fra-e1", 1, Role.EDGE),
        server("fra-x2", 2, Role.EDGE, Role.NODE),
        server("fra-x3", 3, Role.EDGE, Role.NODE),
        server("fra-n4", 4, Role.NODE),
        server("fra-n5", 5, Role.NODE, Role.CONTROLLER),
        server("fra-e6", 6, Role.EDGE, Role.CONTROLLER),
        server("ams-x1", 1, *ALL_ROLES),
    ),
    datacenters=(
        Datacenter(name="fra", id=1, fabrics=("a", "b")),
        Datacenter(name="ams", id=2, fabrics=()),
    ),
    links=(Link(a="fra-e1", b="ams-x1"), Link(a="fra-x2", b="ams-x1")),
    peers=(),
)
"""Every combination of roles beside each other."""
