"""`catchment`: what is expected, of what is not known, and after a change."""

from dataclasses import replace

import pytest

from pltfrms.cli.network.catchment import CatchmentRow, changed, expected_answers
from pltfrms.model.running.state import Snapshot
from pltfrms.specfile import load_lab
from tests.cli.world import EXAMPLE, HEALTHY, PLATFORM, WEB, with_lost

LAB = load_lab(EXAMPLE / "lab.yaml", PLATFORM)
NEAREST = {eyeball.name: eyeball.nearest for eyeball in LAB.eyeballs}
NEW = ("fra-e1", "fra-e2")


def before_fra_had_edges() -> Snapshot:
    machines = tuple(each for each in PLATFORM.machines if each.name not in NEW)
    links = tuple(link for link in PLATFORM.links if not {link.a, link.b} & set(NEW))
    peers = tuple(
        replace(peer, sessions=tuple(each for each in peer.sessions if each.edge not in NEW))
        for peer in PLATFORM.peers
    )
    return replace(
        HEALTHY,
        platform=replace(PLATFORM, machines=machines, links=links, peers=peers),
        machines={each.name: HEALTHY.machines[each.name] for each in machines},
        statuses={each.name: HEALTHY.statuses[each.name] for each in machines},
    )


def test_of_an_edge_that_comes_with_a_change_is_expected_what_it_is_for() -> None:
    now = before_fra_had_edges()
    assert expected_answers(now, LAB, WEB)["berlin"] == "ams"
    after = changed(now, EXAMPLE / "platform.yaml")
    assert expected_answers(after, LAB, WEB) == NEAREST
    silent = with_lost(with_lost(HEALTHY, "fra-e1"), "fra-e2")
    known = changed(silent, EXAMPLE / "platform.yaml")
    assert "?" in expected_answers(known, LAB, WEB)["berlin"], "no change makes it speak"


@pytest.mark.parametrize(
    ("expected", "measured", "surprising"),
    [
        ("fra", "fra", False),
        ("fra|ams", "ams", False),
        ("fra", "ams", True),
        ("fra", "fra|ams", True),
        ("fra", "?", False),
        ("fra|-|?", "ams", False),
    ],
)
def test_only_what_is_known_can_surprise(
    expected: str, measured: str, *, surprising: bool
) -> None:
    row = CatchmentRow(client="berlin", nearest="fra", expected=expected, measured=measured)
    assert row.surprising is surprising
