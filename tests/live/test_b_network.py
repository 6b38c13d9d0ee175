"""The network as a whole: plans that are refused, changes that revert, drains, freezes.

Each incident of the field that taught a rule has its run here; the names say which rule.
"""

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.rig import EXAMPLE, NEAREST, Rig
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import RoutingState

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]
TRANSIT_AT_FRA = 'theirs: [203.0.113.0, "2001:db8:f000:1::"], bfd: true'


@pytest.fixture
def spec(healthy: Rig, tmp_path: Path) -> Iterator[Path]:
    """Yield a copy of the platform to change; afterwards the original is in force again."""
    copy = tmp_path / "platform.yaml"
    copy.write_text((EXAMPLE / "platform.yaml").read_text())
    yield copy
    healthy.restore()
    healthy.cli("apply", str(EXAMPLE / "platform.yaml"), "--yes", "--wait")


def change(spec: Path, old: str, new: str) -> None:
    text = spec.read_text()
    assert old in text
    spec.write_text(text.replace(old, new, 1))


def routing_of(rig: Rig, edge: str) -> RoutingState:
    return rig.snapshot().statuses[edge].routing.state


def withdrawals(rig: Rig) -> list[str]:
    lines = rig.cli("events", "--limit", "1000").splitlines()
    return [line for line in lines if "aggregate withdrawn" in line]


def test_cause_split_the_whole_backbone_gone_withdraws_nothing(healthy: Rig) -> None:
    before = withdrawals(healthy)
    for link in healthy.snapshot().platform.links:
        healthy.client.fault(f"link/{link.name}", "cut")
    reports = healthy.probe_all(NEAREST, "--duration", "5s", "--rate", "100")
    assert {name: report["lost"] for name, report in reports.items()} == dict.fromkeys(
        NEAREST, 0
    )
    healthy.restore()
    assert withdrawals(healthy) == before


def test_last_announcer_a_spec_that_withdraws_everywhere_is_refused(
    healthy: Rig, spec: Path
) -> None:
    change(spec, "peers:\n", "traffic:\n  - {announce: false}\n\npeers:\n")
    planned = healthy.cli("plan", str(spec), expect=4)
    assert "last_announcer" in planned
    assert re.search(r"transit1@fra-e1 +-198\.51\.100\.0/24 +moves traffic", planned)
    refused = healthy.cli("apply", str(spec), "--yes", expect=4)
    assert "nothing was changed" in refused
    assert healthy.snapshot().platform.traffic == ()


def test_a_change_moves_what_was_expected_one_edge_after_the_other(
    healthy: Rig, spec: Path
) -> None:
    change(
        spec,
        "peers:\n",
        "traffic:\n  - {peer: transit1, datacenter: fra, prepend: 2}\n\npeers:\n",
    )
    seen: list[set[str]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            statuses = healthy.snapshot().statuses.items()
            seen.append(
                {name for name, s in statuses if s.routing.state is RoutingState.TRYING}
            )
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        healthy.cli("apply", str(spec), "--yes", "--wait")
    finally:
        done.set()
        watcher.join()
    edges_tried = [names & {"fra-e1", "fra-e2"} for names in seen]
    assert {"fra-e1"} in edges_tried
    assert {"fra-e2"} in edges_tried
    assert all(len(names) <= 1 for names in edges_tried)
    rows = {row["client"]: row for row in json.loads(healthy.cli("catchment", "web", "--json"))}
    assert rows["berlin"]["expected"] == rows["berlin"]["measured"] == "ams"
    assert rows["reading"]["measured"] == "lon"


def test_commit_confirm_a_bad_change_reverts_without_any_controller(
    healthy: Rig, spec: Path
) -> None:
    change(spec, TRANSIT_AT_FRA, f"{TRANSIT_AT_FRA}, password: nobody-else-has-it")
    healthy.cli("apply", str(spec), "--yes")
    healthy.wait(
        "fra-e1 tries it", lambda: routing_of(healthy, "fra-e1") is RoutingState.TRYING, 30
    )
    healthy.client.fault("controllers")

    def is_up() -> bool:
        words = ("-s", "/run/pltfrms/bird-readonly.ctl", "show", "protocols")
        lines = healthy.run("fra-e1", "birdc", *words).splitlines()
        return any("peer.transit1.ipv4" in line and "Established" in line for line in lines)

    assert not is_up()
    healthy.wait("the edge alone goes back", is_up, 45)
    healthy.restore()
    healthy.wait(
        "it says so", lambda: routing_of(healthy, "fra-e1") is RoutingState.REVERTED, 20
    )
    assert routing_of(healthy, "fra-e2") is RoutingState.CONFIRMED
    assert "reverted" in healthy.cli("edge", "list")


def paths_of_transit1(rig: Rig) -> str:
    return rig.run("transit1", "ip", "route", "show", "198.51.100.0/24")


def test_a_drained_edge_session_loses_nothing(healthy: Rig) -> None:
    report: dict[str, object] = {}

    def watch() -> None:
        report.update(healthy.probe("berlin", "--rate", "100", "--duration", "14s"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    time.sleep(2)
    healthy.cli("peer", "drain", "transit1@fra-e1", "--wait", "3s")
    sessions = healthy.snapshot().statuses["fra-e1"].sessions
    drained = [each for each in sessions if each.name.startswith("peer.transit1.")]
    assert all(each.up and each.exported == 0 for each in drained)
    assert "203.0.113.1 " not in healthy.run(
        "transit1", "ip", "route", "show", "198.51.100.0/24"
    )
    watcher.join()
    # A connection in the air while its path changes may end at another instance; none is lost.
    assert set(report["errors"]) <= {"reset"}  # type: ignore[call-overload]  # JSON
    assert int(str(report["lost"])) <= 5
    healthy.cli("peer", "undrain", "transit1@fra-e1")
    healthy.wait(
        "transit1 hears fra-e1 again",
        lambda: (
            "203.0.113.1 " in healthy.run("transit1", "ip", "route", "show", "198.51.100.0/24")
        ),
        20,
    )


@pytest.mark.parametrize(("eyeball", "datacenter"), [("berlin", "fra"), ("reading", "lon")])
def test_a_drain_breaks_no_connection_neither_when_it_begins_nor_when_it_ends(
    healthy: Rig, eyeball: str, datacenter: str
) -> None:
    """Connections that are open while their clients move find their instance from elsewhere.

    Clients of a transit, and of an exchange; also those that use their ports again, of
    connections whose end nobody has heard.
    """

    def measured() -> str:
        rows = json.loads(healthy.cli("catchment", "web", "--json"))
        return str(next(row["measured"] for row in rows if row["client"] == eyeball))

    def watched(*verb: str) -> dict[str, Any]:
        there = verb == ("undrain",)
        with healthy.asking(eyeball) as report:
            healthy.cli("datacenter", *verb, datacenter, *despite)
            healthy.wait("clients move", lambda: (measured() == datacenter) is there, 40)
            time.sleep(6)  # it is withdrawn after 3 s, and connections are open for a while
        return report

    def check(report: dict[str, Any]) -> None:
        assert report["lost"] == 0, json.dumps(report)

    despite: tuple[str, ...] = ("--wait", "3s", "--detach", "--yes-i-mean", "headroom")
    try:
        check(watched("drain"))
    finally:
        despite = ()
        report = watched("undrain")
    check(report)


def test_a_drain_that_would_leave_nobody_is_refused(healthy: Rig) -> None:
    despite = ("--yes-i-mean", "shrink_guard", "--yes-i-mean", "headroom")
    quickly = ("--wait", "1s", "--detach", *despite)
    try:
        for peer in ("transit1", "transit2"):
            healthy.cli("peer", "drain", peer, *quickly)
        said = healthy.cli("peer", "drain", "ixp1", *quickly, expect=4)
        assert "last_announcer" in said
    finally:
        for peer in ("transit1", "transit2"):
            healthy.cli("peer", "undrain", peer)


def test_two_people_drain_what_one_may_not(healthy: Rig, spec: Path) -> None:
    for name in ("ada", "bob"):
        command = (
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-f",
            str(spec.with_name(name)),
        )
        subprocess.run(command, check=True)
    lines = [
        f"  {name}: [{spec.with_name(f'{name}.pub').read_text().strip()}]\n"
        for name in ("ada", "bob")
    ]
    rule = f"operators:\n{''.join(lines)}guards: {{two_people: [drains]}}\n"
    change(spec, "peers:\n", f"{rule}\npeers:\n")
    ada, bob = (("--key", str(spec.with_name(name))) for name in ("ada", "bob"))

    def ask(*words: str) -> str:
        said = json.loads(healthy.cli(*words, "--json", *ada, expect=3))
        number: str = said["request"]["id"]
        return number

    healthy.cli("apply", str(spec), "--yes", "--wait")
    drain = ("peer", "drain", "transit1@fra-e1", "--wait", "1s", "--detach")
    number = ask(*drain)
    try:
        assert healthy.snapshot().interventions.drains == ()
        healthy.cli("request", "approve", number, "--yes", *ada, expect=2)
        assert healthy.snapshot().interventions.drains == ()
        healthy.cli("request", "approve", number, "--yes", *bob)
        (done,) = healthy.snapshot().interventions.drains
        assert done.by == "ada, approved by bob"
        healthy.cli("request", "approve", number, "--yes", *bob, expect=4)
        healthy.cli("peer", "undrain", "transit1@fra-e1")
    finally:
        original = ask("apply", str(EXAMPLE / "platform.yaml"), "--yes")
        healthy.cli("request", "approve", original, "--yes", *bob)
    assert healthy.snapshot().platform.operators == ()


def test_a_freeze_leaves_routes_as_they_are(healthy: Rig) -> None:
    node = healthy.node_of("fra")

    def routes() -> str:
        return healthy.run(node, "ip", "route", "show", "table", "100", check=False)

    def all_frozen() -> bool:
        statuses = healthy.snapshot().statuses.values()
        return all(status.routing.state is RoutingState.FROZEN for status in statuses)

    healthy.cli("network", "freeze", "--why", "test")
    healthy.wait("every agent knows", all_frozen, 15)
    healthy.run(node, "ip", "route", "flush", "table", "100")
    time.sleep(3)
    assert "198.51.100.1" not in routes()
    healthy.cli("network", "unfreeze")
    healthy.wait("it is healed", lambda: "198.51.100.1" in routes(), 15)


def test_a_second_backbone_path_takes_over(healthy: Rig) -> None:
    """Clients enter at fra, which serves nobody: their packets cross the backbone to ams."""
    for machine in healthy.snapshot().platform.machines_of(Role.NODE, "fra"):
        healthy.client.fault(f"daemon/{machine.name}/bird")
    before = healthy.probe("berlin", "--duration", "3s")
    assert "fra" not in before["answered_by"]["before"], "it is carried elsewhere"
    words = ("--duration", "8s", "--fault", "link/fra-e1--ams-e2:cut", "--at", "3s")
    report = healthy.probe("berlin", *words)
    healthy.restore()
    assert report["gap_max_ms"] <= 1500, report


def test_an_edge_that_gets_no_answers_is_told_first_and_so_is_their_return(
    healthy: Rig, spec: Path
) -> None:
    change(spec, "peers:\n", "vantage: {interval: 500ms}\n\npeers:\n")
    healthy.cli("apply", str(spec), "--yes", "--wait")

    def first_line() -> str:
        return healthy.cli("status").splitlines()[0]

    def is_served() -> bool:
        return first_line().startswith("clients: served, asked from ams, fra, lon")

    healthy.wait("every edge is answered", is_served, 60)
    refusing = "type filter hook output priority 0; tcp dport 80 reject with tcp reset;"
    healthy.run("fra-e1", "nft", f"table inet refusing {{ chain out {{ {refusing} }}; }}")
    try:
        healthy.wait(
            "one edge is not",
            lambda: "web is partly served: from fra " in first_line(),
            30,
        )
        report = healthy.probe("berlin", "--duration", "2s")
        assert report["lost"] == 0, "clients went through fra-e1 all the same"
    finally:
        healthy.run("fra-e1", "nft", "delete table inet refusing")
    healthy.wait("every edge is answered again", is_served, 60)


def test_what_is_expected_is_what_is_measured(healthy: Rig) -> None:
    def measured() -> dict[str, str]:
        rows.clear()
        rows.extend(json.loads(healthy.cli("catchment", "web", "--json")))
        return {row["client"]: row["measured"] for row in rows}

    rows: list[dict[str, str]] = []
    healthy.wait("traffic is back where it should be", lambda: measured() == NEAREST, 30)
    assert all(row["expected"] == row["measured"] for row in rows)


def test_the_looking_glass_reads_and_does_nothing_else(healthy: Rig) -> None:
    shown = json.loads(
        healthy.cli("route", "show", "198.51.100.1", "--from", "fra-e1", "--json")
    )
    assert shown
    words = ("birdc", "-s", "/run/pltfrms/bird-readonly.ctl")
    assert "ready" in healthy.run("fra-e1", *words, "show", "status")
    assert "denied" in healthy.run("fra-e1", *words, "configure", check=False)
    assert "announced" in healthy.cli(
        "route", "why", "198.51.100.0/24", "--to", "transit1@fra-e1"
    )
