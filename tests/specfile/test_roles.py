"""How a machine with several roles is written."""

from pathlib import Path

import pytest

from pltfrms.errors import SpecError
from pltfrms.model.network.topology import Platform, Role
from pltfrms.specfile.load import load_platform

SHORT = "machines: {fra1: {cpu: 4, memory: 8GiB}}"
LONG = """edges: [fra1]
    nodes: {fra1: {cpu: 4, memory: 8GiB}}
    controllers: [fra1]"""


def load(tmp_path: Path, text: str) -> Platform:
    file = tmp_path / "platform.yaml"
    file.write_text(
        f"""platform: small
asn: 64500
aggregates: [198.51.100.0/24, "2001:db8:100::/48"]
datacenters:
  fra:
    id: 1
    {text}
"""
    )
    return load_platform(file)


def problems(tmp_path: Path, text: str) -> list[tuple[str, int]]:
    with pytest.raises(SpecError) as caught:
        load(tmp_path, text)
    return [(f"{each.what}; {each.hint}", each.line) for each in caught.value.problems]


def test_one_name_in_several_lists_is_one_machine(tmp_path: Path) -> None:
    (machine,) = load(tmp_path, LONG).machines
    assert machine.roles == (Role.EDGE, Role.NODE, Role.CONTROLLER)
    assert (machine.id, machine.cpu, machine.memory_bytes) == (1, 4.0, 8 << 30)


def test_the_short_form_says_the_same(tmp_path: Path) -> None:
    assert load(tmp_path, SHORT) == load(tmp_path, LONG)


def test_roles_may_be_fewer_and_have_ids_of_their_own(tmp_path: Path) -> None:
    text = """fabrics: [a]
    machines:
      fra1: {cpu: 4, memory: 8GiB}
      fra2: {roles: [controller, edge]}
    edges: {fra3: {id: 30}}
    nodes: {fra3: {id: 31, cpu: 1, memory: 1GiB}}"""
    platform = load(tmp_path, text)
    found = {machine.name: machine for machine in platform.machines}
    assert found["fra2"].roles == (Role.EDGE, Role.CONTROLLER)
    assert [found["fra3"].id_as(role) for role in found["fra3"].roles] == [30, 31]
    assert [machine.name for machine in platform.machines] == ["fra1", "fra2", "fra3"]


def test_two_machines_need_a_fabric_between_them(tmp_path: Path) -> None:
    ((said, line),) = problems(
        tmp_path, "machines: {fra1: {cpu: 1, memory: 1GiB}, fra2: {roles: [edge]}}"
    )
    assert "fra1 and fra2 need one between them" in said
    assert line == 5


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ("machines: {fra1: {cpu: 4}}", "must be more than 0; such as 8GiB", 7),
        ("machines: {fra1: {memory: 4GiB}}", "must be more than 0; cores", 7),
        ("machines: {fra: {cpu: 4, memory: 8GiB}}", "id 0 is outside 1..250", 7),
        ("machines: {fra1: {roles: [boss], cpu: 4, memory: 8GiB}}", "boss", 7),
        (
            """fabrics: [a]
    edges: {fra1: {fabrics: {a: {interface: eth1}}}}
    nodes: {fra1: {cpu: 4, memory: 8GiB, fabrics: {a: {interface: eth2}}}}
    controllers: {fra1: {fabrics: {a: {interface: eth1}}}}""",
            "eth2, and eth1 in edges; say it once",
            9,
        ),
        (
            """edges: {fra1: {rack: r1}}
    nodes: {fra1: {cpu: 4, memory: 8GiB}}
    controllers: {fra1: {rack: r2}}""",
            "r2, and r1 in edges; say it once",
            9,
        ),
        (f"{SHORT}\n    edges: [fra1]", "fra1 also stands in another section", 7),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(
    text: str, says: str, line: int, tmp_path: Path
) -> None:
    found = problems(tmp_path, text)
    assert any(says in said and at == line for said, at in found), found


def test_an_edge_of_others_has_no_other_role(tmp_path: Path) -> None:
    text = """edges: {fra1: {external: true}}
    nodes: {fra1: {cpu: 4, memory: 8GiB}}
    controllers: [fra1]"""
    assert any("a node cannot be external" in said for said, _ in problems(tmp_path, text))


def test_edge_and_node_is_refused_beside_an_edge_of_others(tmp_path: Path) -> None:
    text = """fabrics: [a]
    edges: {fra2: {external: true}}
    machines: {fra1: {cpu: 4, memory: 8GiB}}"""
    ((said, _),) = problems(tmp_path, text)
    assert "it is edge and node, and others manage an edge of fra" in said
