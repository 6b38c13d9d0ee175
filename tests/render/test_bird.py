"""The text of every role, by golden file, and BIRD's own opinion of it.

`PLTFRMS_GOLDEN=write pytest tests/render` writes the golden files anew; read the difference.
"""

import dataclasses
import os
import re
import subprocess
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pltfrms.model.network.lab import Lab
from pltfrms.model.network.links import Link
from pltfrms.model.network.topology import Aggregate, Datacenter, FurtherRole, Platform, Role
from pltfrms.render.bird import render_bird
from pltfrms.render.conditions import Conditions
from pltfrms.render.emulated.internet import render_internet
from pltfrms.specfile.load import load_lab, load_platform
from tests.render.platforms import SMALL, SMALL_LAB, machine, session

GOLDEN = Path(__file__).parent / "golden"
EXAMPLE = Path(__file__).parents[2] / "examples" / "three-datacenters"
COSTS = {"fra-e1--ams-e2": 50, "lon-e1--fra-e2": 140}


def example() -> tuple[Platform, Lab]:
    platform = load_platform(EXAMPLE / "platform.yaml")
    return platform, load_lab(EXAMPLE / "lab.yaml", platform)


def render(platform: Platform, lab: Lab, name: str) -> str:
    if name in lab.machines:
        return render_internet(platform, lab, name)
    return render_bird(platform, name, Conditions(costs=COSTS))


def complaints(text: str, directory: Path) -> str:
    """Return what BIRD's parser says against a text, if anything."""
    file = directory / "bird.conf"
    file.write_text(text)
    words = ("bird", "-p", "-c", str(file))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize(
    "name", ["fra-e2", "fra-n1", "fra-c1", "transit1", "ixp1", "berlin", "reading"]
)
def test_golden(name: str) -> None:
    text = render(*example(), name)
    file = GOLDEN / f"{name}.conf"
    if os.environ.get("PLTFRMS_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


def test_bird_accepts_every_text_of_the_example(tmp_path: Path) -> None:
    platform, lab = example()
    names = [*(machine.name for machine in platform.machines), *lab.machines]
    refused = {name: complaints(render(platform, lab, name), tmp_path) for name in names}
    assert {name: what for name, what in refused.items() if what} == {}


def unclear(text: str) -> list[str]:
    """Return words before an `and` behind an `or`: BIRD takes them from left to right."""
    words = re.sub(r"#.*|\"[^\"]*\"|'[^']*'", "", text)
    found, said, before = [], [False], ""
    for word in re.findall(r"\|\||&&|[(){};]|\bthen\b|[^|&(){};\s]+", words):
        if word == "(":
            said.append(False)
        elif word == ")" and len(said) > 1:
            said.pop()
        elif word in "{};" or word == "then":
            said[-1] = False
        elif word == "||":
            said[-1] = True
        elif word == "&&" and said[-1]:
            found.append(before)
        before = word
    return found


@pytest.mark.parametrize("beside", [False, True])
def test_no_condition_says_and_behind_or(*, beside: bool) -> None:
    platform, _ = example()
    if beside:  # edges that are nodes, with nodes beside them
        machines = tuple(
            dataclasses.replace(each, further=(FurtherRole(role=Role.NODE, id=90 + each.id),))
            if each.role is Role.EDGE
            else each
            for each in platform.machines
        )
        platform = dataclasses.replace(platform, machines=machines)
    texts = {each.name: render_bird(platform, each.name) for each in platform.machines}
    assert {name: found for name, text in texts.items() if (found := unclear(text))} == {}


def test_costs_are_the_only_difference_when_costs_change() -> None:
    platform, _ = example()
    before = render_bird(platform, "fra-e2").splitlines()
    after = render_bird(platform, "fra-e2", Conditions(costs=COSTS)).splitlines()
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert [(a.strip(), b.strip()) for a, b in changed] == [
        (
            "type ptp; cost 100; hello 1; dead 4; bfd on;",
            "type ptp; cost 140; hello 1; dead 4; bfd on;",
        )
    ]


def test_an_edge_without_peers_aggregates_or_company(tmp_path: Path) -> None:
    alone = dataclasses.replace(
        SMALL,
        aggregates=(),
        peers=(),
        links=(),
        machines=(machine("fra-e1", "fra", Role.EDGE, 1),),
    )
    text = render_bird(alone, "fra-e1")
    assert complaints(text, tmp_path) == ""
    assert "outside_session" not in text


def test_three_edges_elect_a_designated_router_and_two_do_not() -> None:
    three = (*SMALL.machines, machine("fra-e3", "fra", Role.EDGE, 3))
    assert "type broadcast" in render_bird(dataclasses.replace(SMALL, machines=three), "fra-e1")
    assert "type broadcast" not in render_bird(SMALL, "fra-e1")


def test_two_sessions_with_one_peer_have_two_names(tmp_path: Path) -> None:
    peer = SMALL.peers[0]
    second = dataclasses.replace(
        session(
            "fra-e1", "x2", ("192.0.2.1/31", "2001:db8:9::1/127"), ("192.0.2.0", "2001:db8:9::")
        ),
    )
    twice = dataclasses.replace(peer, sessions=(*peer.sessions, second, second))
    text = render_bird(dataclasses.replace(SMALL, peers=(twice,)), "fra-e1")
    assert complaints(text, tmp_path) == ""
    for name in ("transit1", "transit1:2", "transit1:3"):
        assert f"protocol bgp 'peer.{name}.ipv4'" in text


def test_a_name_that_is_not_there_is_said() -> None:
    with pytest.raises(KeyError, match="nobody"):
        render_bird(SMALL, "nobody")
    with pytest.raises(KeyError, match="nobody"):
        render_internet(SMALL, SMALL_LAB, "nobody")


# ---- any valid platform --------------------------------------------------------------------

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,9}[a-z0-9])?", fullmatch=True)
WORDS_OF_BIRD = st.sampled_from(["s", "rs", "bgp", "protocol", "table", "ms", "true", "lc"])


@st.composite
def platforms(draw: st.DrawFn) -> Platform:
    names = draw(st.lists(NAMES | WORDS_OF_BIRD, min_size=7, max_size=7, unique=True))
    here, there, e1, e2, node, far, fabric = names
    return dataclasses.replace(
        SMALL,
        name=here,
        asn=draw(st.integers(1, 4_294_967_294)),
        aggregates=tuple(
            Aggregate(prefix=ip_network(prefix))
            for prefix in draw(st.sets(st.sampled_from(["192.0.2.0/24", "2001:db8:1::/48"])))
        ),
        datacenters=(
            Datacenter(name=here, id=draw(st.integers(1, 100)), fabrics=(fabric,)),
            Datacenter(name=there, id=draw(st.integers(101, 200)), fabrics=(fabric,)),
        ),
        machines=(
            machine(e1, here, Role.EDGE, draw(st.integers(1, 125))),
            machine(e2, here, Role.EDGE, draw(st.integers(126, 250))),
            machine(node, here, Role.NODE, draw(st.integers(1, 250))),
            machine(far, there, Role.EDGE, draw(st.integers(1, 250))),
        ),
        links=(Link(a=e1, b=far),),
        peers=tuple(
            dataclasses.replace(
                peer,
                sessions=tuple(dataclasses.replace(s, edge=e1) for s in peer.sessions[:1]),
            )
            for peer in SMALL.peers
        ),
    )


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(platform=platforms(), cost=st.integers(1, 60_000))
def test_bird_accepts_any_valid_platform(platform: Platform, cost: int, tmp_path: Path) -> None:
    for one in platform.machines:
        text = render_bird(platform, one.name, Conditions(costs={platform.links[0].name: cost}))
        assert complaints(text, tmp_path) == ""
