"""What an edge is told to accept from nodes: the text."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pltfrms.model.network.topology import Guards, NodePrefixes
from pltfrms.model.running.plan import Permit
from pltfrms.render.bird import policy_fingerprint, render_bird
from pltfrms.render.conditions import Conditions
from tests.render.instances_world import PLATFORM
from tests.render.test_bird import complaints

ONLY_PLACED = replace(PLATFORM, guards=Guards(node_prefixes=NodePrefixes.PLACED))


def permit(node: str, number: int) -> Permit:
    return Permit(
        node=node,
        id=number,
        prefix4=IPv4Network(f"198.51.100.{number}/32"),
        prefix6=IPv6Network(f"2001:db8:100::{number:x}/128"),
    )


PLACED = Conditions(permits={"fra-n1": (permit("fra-n1", 1), permit("fra-n1", 0x20))})


def session(text: str, node: str) -> str:
    return text.split(f"protocol bgp 'node.{node}.a'")[1].split("\nprotocol", maxsplit=1)[0]


def test_a_node_speaks_for_what_is_placed_there(tmp_path: Path) -> None:
    text = render_bird(ONLY_PLACED, "fra-e1", PLACED)
    assert complaints(text, tmp_path) == ""
    some, nothing = session(text, "fra-n1"), session(text, "fra-n2")
    pool = "fd00:77:0:1001:1"
    for kind, members in (
        ("ipv4", "198.51.100.1/32, 198.51.100.32/32"),
        ("ipv6", "2001:db8:100::1/128, 2001:db8:100::20/128"),
        ("instances", f"{pool}:1::/96{{128,128}}, {pool}:20::/96{{128,128}}"),
    ):
        name = f"'placed.{kind}.fra-n1'"
        assert f"define {name} = [ {members} ];\n" in text
        assert f"net !~ {name} then" in some
        assert text.count(members) == 1, "it has two sessions with that node"
    assert nothing.count("not placed there") == 3
    assert "!~" not in nothing


def test_where_any_is_accepted_or_nothing_is_known_there_is_no_such_test() -> None:
    assert render_bird(PLATFORM, "fra-e1", PLACED) == render_bird(PLATFORM, "fra-e1")
    assert "not placed there" not in render_bird(ONLY_PLACED, "fra-e1")
    nothing_at_all = render_bird(ONLY_PLACED, "fra-e1", Conditions(permits={}))
    assert "not placed there" in nothing_at_all


def test_only_the_guard_is_policy() -> None:
    assert policy_fingerprint(ONLY_PLACED, "fra-e1") != policy_fingerprint(PLATFORM, "fra-e1")
    assert policy_fingerprint(ONLY_PLACED, "fra-n1") == policy_fingerprint(PLATFORM, "fra-n1")
