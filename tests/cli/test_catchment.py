"""`catchment`: what is expected, of what is not known, and after a change."""

from dataclasses import replace

import pytest

from pltfrms.cli.network.catchment import (
    CatchmentRow,
    changed,
    expected_answers,
    of_vantage_points,
)
from pltfrms.errors import NotFoundError, UnavailableError
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.running.state import Snapshot
from pltfrms.model.running.vantage import ClientEvidence, ClientVerdict, ServiceEvidence
from pltfrms.specfile import load_lab
from tests.cli.conftest import Run
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


def told(
    served: ClientVerdict, why: str = "", asked_from: tuple[str, ...] = ()
) -> SnapshotView:
    """Return what a controller says when berlin is answered, ams is not, and lon is by whom?"""
    web = ServiceEvidence(
        service="web",
        served=served,
        why=why,
        asked_from=asked_from,
        answered_by={"berlin": ("ams", "fra")},
        missed_from=("ams",),
    )
    evidence = ClientEvidence(served=served, sentence="", services=(web,))
    return SnapshotView(controller="fra-c1", snapshot=HEALTHY, clients=evidence)


def test_outside_a_lab_vantage_points_say_who_answers_them() -> None:
    rows = of_vantage_points(told(ClientVerdict.PARTLY, "", ("ams", "berlin", "lon")), "web")
    assert [(each.client, each.expected, each.measured) for each in rows] == [
        ("ams", "?", "-"),
        ("berlin", "?", "ams|fra"),
        ("lon", "?", "?"),
    ]
    assert not any(each.surprising for each in rows)


def test_outside_a_lab_what_nobody_says_is_not_known() -> None:
    with pytest.raises(UnavailableError, match="web is not known: nobody asks"):
        of_vantage_points(told(ClientVerdict.UNKNOWN, "nobody asks"), "web")
    with pytest.raises(UnavailableError, match="not known"):
        of_vantage_points(SnapshotView(controller="fra-c1", snapshot=HEALTHY), "web")
    with pytest.raises(NotFoundError):
        of_vantage_points(told(ClientVerdict.YES), "nope")


@pytest.mark.usefixtures("controller")
def test_a_change_is_worked_out_in_a_lab_alone(run: Run) -> None:
    found = run("catchment", "web", "--change", str(EXAMPLE))
    assert (found.code, "in a lab only" in found.err) == (2, True)
