"""A machine with several roles is one machine: its addresses are those of the main one."""

from dataclasses import replace
from itertools import combinations

import pytest

from pltfrms.codec import decode_fully, encode
from pltfrms.model.network.topology import ROLES_IN_ORDER, Machine, Platform, Role, link_local
from tests.render.platforms import SMALL
from tests.render.roles import MIXED, THREE, server

SETS = [some for count in (1, 2, 3) for some in combinations(ROLES_IN_ORDER, count)]


def alone(role: Role) -> Machine:
    return Machine(name="fra-x7", datacenter="fra", role=role, id=7)


@pytest.mark.parametrize("roles", SETS)
def test_its_addresses_are_those_of_its_main_role(roles: tuple[Role, ...]) -> None:
    many, main = server("fra-x7", 7, *roles), alone(roles[0])
    assert SMALL.loopback4(many) == SMALL.loopback4(main)
    assert SMALL.loopback6(many) == SMALL.loopback6(main)
    assert SMALL.balancer_source(many) == SMALL.balancer_source(main)
    assert SMALL.backbone_link_local(many) == SMALL.backbone_link_local(main)
    assert link_local(many) == link_local(main)


@pytest.mark.parametrize("roles", [some for some in SETS if Role.NODE in some])
def test_its_instances_and_asn_are_those_of_a_node(roles: tuple[Role, ...]) -> None:
    many, node = server("fra-x7", 7, *roles), alone(Role.NODE)
    assert SMALL.pool4(many) == SMALL.pool4(node)
    assert SMALL.pool6(many) == SMALL.pool6(node)
    assert SMALL.instance4(many, 3) == SMALL.instance4(node, 3)
    assert SMALL.instance6(many, 2, 3) == SMALL.instance6(node, 2, 3)
    assert SMALL.private_asn(many) == SMALL.private_asn(node)


def test_no_address_is_in_a_pool_of_another_machine() -> None:
    machines = MIXED.machines
    for one in machines:
        for node in MIXED.machines_of(Role.NODE):
            if one != node:
                pool4 = MIXED.pool4(node)
                assert pool4
                assert MIXED.loopback4(one) not in pool4
                assert MIXED.loopback6(one) not in MIXED.pool6(node)


def test_it_is_among_the_machines_of_each_of_its_roles() -> None:
    for role in Role:
        assert THREE.machines_of(role) == THREE.machines
    names = [machine.name for machine in MIXED.machines_of(Role.CONTROLLER, "fra")]
    assert names == ["fra-n5", "fra-e6"]
    assert [each.name for each in MIXED.behind_edges("fra")] == [
        "fra-x2",
        "fra-x3",
        "fra-n4",
        "fra-n5",
    ]


def test_a_platform_without_such_machines_says_nothing_that_is_new() -> None:
    text = encode(SMALL)
    assert text.count(b'"further":[]') == len(SMALL.machines)
    assert decode_fully(Platform, text) == SMALL
    assert decode_fully(Platform, text.replace(b'"further":[],', b"")) == SMALL


def test_one_with_such_machines_survives_the_way_through_the_store() -> None:
    assert decode_fully(Platform, encode(MIXED)) == MIXED
    assert replace(MIXED) == MIXED
