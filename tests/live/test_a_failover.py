"""What clients see when something fails. Ceilings are generous; bench/ has sharp figures."""

import time
from pathlib import Path
from typing import Any, Final

import pytest

from bench.rig import NEAREST, Rig
from pltfrms.model.running.state import Contact, Phase
from tests.live.others import ADDRESSES, POD, PORT, asking, server, their_anycast

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.root, pytest.mark.timeout(300)]

_AFTERWARDS_SECONDS: Final = 5
"""Clients go on so long after all is as it was: what moves with it has moved then."""


def answered(report: dict[str, Any], when: str) -> set[str]:
    return set(report["answered_by"][when])


def test_every_eyeball_is_answered_by_its_nearest_datacenter(lab: Rig) -> None:
    got = {(a.eyeball, ":" in a.address): a.datacenter for a in lab.ready.answers}
    assert got == {(name, v6): dc for name, dc in NEAREST.items() for v6 in (False, True)}


def test_the_lab_is_up_in_time(lab: Rig) -> None:
    assert lab.up_seconds < 45


def test_instance_killed(healthy: Rig) -> None:
    before = _restarts(healthy)
    report = healthy.probe(
        "berlin",
        "--rate",
        "200",
        "--duration",
        "6s",
        "--fault",
        "instance/web/fra/1",
        "--at",
        "2s",
    )
    assert report["gap_max_ms"] <= 600
    assert report["lost"] <= 40
    assert _restarts(healthy) > before, "the killed instance was not restarted"
    assert len(report["answered_by"]["after"]["fra"]) == 2


def test_instance_hung(healthy: Rig) -> None:
    before = _restarts(healthy)
    report = healthy.probe(
        "berlin", "--duration", "8s", "--fault", "instance/web/fra/2:hang", "--at", "2s"
    )
    assert report["gap_max_ms"] <= 4000
    healthy.wait("the hung instance is restarted", lambda: _restarts(healthy) > before, 10)
    healthy.wait("both replicas ready", lambda: healthy.ready_replicas("fra") == 2, 10)


def _restarts(lab: Rig) -> int:
    return sum(i.restarts for s in lab.snapshot().statuses.values() for i in s.instances)


def test_node_silent_and_back(healthy: Rig) -> None:
    node = healthy.node_of("fra")
    report = healthy.probe(
        "berlin", "--duration", "8s", "--fault", f"node/{node}:silent", "--at", "2s"
    )
    assert report["gap_max_ms"] <= 1500
    assert answered(report, "after") == {"fra"}
    healthy.wait("elsewhere", lambda: healthy.ready_replicas("fra", besides=node) == 2, 20)
    assert healthy.snapshot().contact(node) is Contact.LOST
    fewest = [healthy.ready_replicas("fra")]
    healthy.client.boot(f"node/{node}")

    def settled() -> bool:
        fewest.append(healthy.ready_replicas("fra"))
        snapshot = healthy.snapshot()
        in_fra = [a for a in snapshot.allocations.values() if a.datacenter == "fra"]
        return (
            snapshot.contact(node) is Contact.PRESENT
            and len(in_fra) == 2
            and len({a.node for a in in_fra}) == 2
        )

    healthy.wait("spread restored", settled, 60)
    assert min(fewest) >= 2


def test_edge_silent(healthy: Rig) -> None:
    report = healthy.probe(
        "berlin", "--duration", "7s", "--fault", "edge/fra-e1:silent", "--at", "2s"
    )
    assert report["gap_max_ms"] <= 3000
    healthy.wait("it is drawn", lambda: healthy.drawn()["edges"]["fra-e1"] != "good", 10)
    drawn = healthy.drawn()
    assert drawn["datacenters"]["fra"] == "good", "its other edge announces"
    assert set(drawn["services"].values()) == {"good"}
    dead = {name for name, state in drawn["links"].items() if state == "bad"}
    assert dead == {link.name for link in healthy.snapshot().platform.links_of("fra-e1")}


def test_fabric_cut(healthy: Rig) -> None:
    report = healthy.probe(
        "berlin", "--duration", "6s", "--fault", "fabric/fra/a:cut", "--at", "2s"
    )
    assert report["gap_max_ms"] <= 1500
    assert answered(report, "after") == {"fra"}


def test_datacenter_killed_and_back(healthy: Rig) -> None:
    report = healthy.probe(
        "berlin", "--duration", "8s", "--fault", "datacenter/fra", "--at", "2s"
    )
    assert report["gap_max_ms"] <= 4500
    answers = report["answered_by"]["before"]
    before = {name: sum(counts.values()) for name, counts in answers.items()}
    # What was on its way in that moment may have been led elsewhere.
    assert before.pop("fra") > 50 * sum(before.values()), before
    assert "ams" in answered(report, "after")
    # The aggregate is gone from that datacenter only.
    paths = healthy.aggregate_paths("transit1")
    assert "to-fra" not in paths
    assert "to-ams-e2" in paths
    healthy.client.boot("datacenter/fra")
    with healthy.asking(rate=100) as report:
        healthy.wait(
            "fra announces again",
            lambda: "to-fra-e1" in healthy.aggregate_paths("transit1"),
            90,
        )
        time.sleep(_AFTERWARDS_SECONDS)
    assert report["gap_max_ms"] <= 500, "coming back made a gap"


def test_no_healthy_instance_left_in_a_datacenter(healthy: Rig) -> None:
    for replica in (1, 2):
        healthy.client.fault(f"instance/web/fra/{replica}", for_ms=20_000)
    outside = healthy.probe("berlin", "--duration", "4s")
    assert outside["gap_max_ms"] <= 1500
    assert "fra" not in answered(outside, "before")
    inside = healthy.probe("fra-n1", "--duration", "4s")
    assert inside["gap_max_ms"] <= 500
    assert "fra" not in answered(inside, "before")
    assert answered(inside, "before"), "a local blackhole"


def test_backbone_cut_everywhere(healthy: Rig) -> None:
    for link in healthy.snapshot().platform.links:
        healthy.client.fault(f"link/{link.name}", "cut")
    for eyeball, report in healthy.probe_all(
        NEAREST, "--duration", "5s", "--rate", "100"
    ).items():
        assert report["lost"] == 0
        assert answered(report, "before") == {NEAREST[eyeball]}
    for transit, prefix in (("transit1", "198.51.100.0/24"), ("transit2", "2001:db8:100::/48")):
        assert "to-" in healthy.aggregate_paths(transit, prefix)
    assert "bad" not in healthy.drawn()["datacenters"].values(), "not known is not bad"


def test_what_others_start_is_taken_over_without_a_gap(healthy: Rig, tmp_path: Path) -> None:
    """docs/howto-adopt.md, step by step: by hand on one node, in pods on two others."""
    probed = f"ports: [{PORT}/tcp]\nprobe: {{tcp: {PORT}, timeout: 2s}}\n"
    (tmp_path / "dns.yaml").write_text(
        "service: dns\nrun: {external: true}\n"
        "replicas: {fra: 1, ams: 1, nodes: [fra-n1, ams-n1]}\n"
        f"addresses: [{', '.join(map(repr, ADDRESSES))}]\n{probed}"
    )
    (tmp_path / "vm.yaml").write_text(
        "service: vm\n"
        f"run: {{external: {{nodes: {{lon-n1: [{', '.join(map(repr, POD))}]}}}}}}\n"
        f"replicas: {{lon: 1}}\n{probed}"
    )
    try:
        _take_over(healthy, tmp_path)
    finally:
        for name in {"dns", "vm"} & healthy.snapshot().services.keys():
            healthy.cli("service", "delete", name, "--yes")


def _take_over(healthy: Rig, specs: Path) -> None:
    with (
        server(healthy, "ams-n1", pod=True, host_port=True),
        server(healthy, "lon-n1", pod=True),
    ):
        with server(healthy, "fra-n1") as theirs:
            their_anycast(healthy, "fra-n1", "add")
            with asking(healthy) as said:
                healthy.cli("apply", str(specs), "--yes", "--wait")
                their_anycast(healthy, "fra-n1", "del")
                healthy.probe("berlin", "--duration", "2s")
            # For an instant the one that is announced first may have all of them.
            assert set(said) <= {"fra-n1", "ams-n1"}, said
            healthy.wait("fra answers", lambda: said_by(healthy, "dns") == {"fra-n1"}, 20)
            assert theirs.poll() is None
            healthy.wait("lon answers", lambda: said_by(healthy, "vm") == {"lon-n1"}, 20)
        healthy.wait("fra does not answer", lambda: "dns" in _unhealthy(healthy), 20)
        healthy.wait("ams answers", lambda: said_by(healthy, "dns") == {"ams-n1"}, 20)
        with asking(healthy) as said:
            healthy.probe("berlin", "--duration", "2s")
        assert set(said) == {"ams-n1"}, said
        healthy.wait("it is said", lambda: "Connection refused" in healthy.cli("status"), 10)
        with server(healthy, "fra-n1"):
            healthy.wait("fra answers again", lambda: said_by(healthy, "dns") == {"fra-n1"}, 20)
            healthy.cli("service", "delete", "dns", "--yes")
            healthy.cli("service", "delete", "vm", "--yes")
            found = 'until ! ip -o link | grep -q "h@i"; do sleep 0.1; done'
            for node in ("fra-n1", "lon-n1"):
                healthy.run(node, "sh", "-c", found)
            assert "pltfrms_i" not in healthy.run("lon-n1", "nft", "list", "tables")


def said_by(lab: Rig, service: str) -> set[str]:
    """Return who answers a service on all of its addresses; `` is nobody."""
    addresses = (each.network_address for each in lab.snapshot().services[service].prefixes)
    words = ("busybox", "nc", "-w", "3")
    return {lab.run("berlin", *words, str(each), str(PORT), check=False) for each in addresses}


def _unhealthy(lab: Rig) -> set[str]:
    statuses = lab.snapshot().statuses.values()
    return {
        each.allocation.split(".")[0]
        for status in statuses
        for each in status.instances
        if each.phase is Phase.UNHEALTHY
    }
