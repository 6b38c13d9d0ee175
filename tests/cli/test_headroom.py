"""Traffic, capacities and ROAs as the command line shows them."""

import json
from dataclasses import replace
from pathlib import Path

from pltfrms.model.messages.api import InterventionReply
from pltfrms.model.messages.guards import Doubt, Guard, Verdict
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.state import Load, Snapshot
from tests.cli.conftest import Run
from tests.cli.routing_world import SETTLED, with_status
from tests.cli.world import EXAMPLE, PLATFORM, FakeController, with_lost

FULL = Verdict(
    guard=Guard.HEADROOM,
    about="transit1@fra-e1",
    sentence="carries 6.2 Gbit/s out; left in fra: 10 Gbit/s with 5.1 Gbit/s in use -> 113 %, "
    "more than 90 %",
)
UNKNOWN = Doubt(
    guard=Guard.ROA,
    about="198.51.100.0/24",
    sentence="not known whether a ROA allows it: fra-e1 has no ROAs",
)
NEW_LINE = "aggregates: [198.51.100.0/24, 198.18.4.0/24, "
OLD_LINE = "aggregates: [198.51.100.0/24, "


def sized(platform: Platform) -> Platform:
    """Return the platform whose first session says its capacity."""
    first = platform.peers[0]
    sessions = (replace(first.sessions[0], capacity_mbps=10_000), *first.sessions[1:])
    return replace(platform, peers=(replace(first, sessions=sessions), *platform.peers[1:]))


def carrying() -> Snapshot:
    """Return a platform whose edge fra-e1 has told its traffic."""
    loads = {
        "x-transit1": Load(received_bps=400_000_000, sent_bps=6_200_000_000),
        "bb-ams-e2": Load(received_bps=1_000_000, sent_bps=3_000_000_000),
    }
    known = with_status(SETTLED, "fra-e1", lambda status: replace(status, loads=loads))
    return replace(known, platform=sized(PLATFORM))


def test_sessions_show_what_their_port_carries(run: Run, controller: FakeController) -> None:
    controller.snapshots = [carrying()]
    lines = run("session", "list", "--machine", "fra-e1").out.splitlines()
    assert "port" in lines[0]
    carried = "400 Mbit/s in, 6.2 Gbit/s out of 10 Gbit/s (62 %)"
    assert [carried in line for line in lines if "peer.transit1" in line] == [True, True]
    (other,) = run("session", "list", "--machine", "fra-n1").out.splitlines()[1:2]
    assert "Gbit/s" not in other
    rows = json.loads(run("session", "list", "--machine", "fra-e1", "--json").out)
    (port,) = {json.dumps(row["port"]) for row in rows if "transit1" in row["session"]}
    assert json.loads(port)["sent_bps"] == 6_200_000_000


def test_the_network_shows_ports_and_links(run: Run, controller: FakeController) -> None:
    controller.snapshots = [carrying()]
    lines = run("network", "show").out.splitlines()
    assert lines[lines.index("traffic") + 1 :] == [
        "  transit1@fra-e1: 400 Mbit/s in, 6.2 Gbit/s out of 10 Gbit/s (62 %)",
        "  fra-e1--ams-e2: 1 Mbit/s in, 3 Gbit/s out of 10 Gbit/s (30 %)",
        "  ams-e1--lon-e2: load not known of a capacity of 10 Gbit/s",
        "  lon-e1--fra-e2: load not known of a capacity of 10 Gbit/s",
    ]
    controller.snapshots = [with_lost(carrying(), "fra-e1")]
    out = run("network", "show").out
    assert "transit1@fra-e1: load not known of a capacity of 10 Gbit/s" in out


def test_a_drain_shows_the_numbers_and_what_is_not_known(
    run: Run, controller: FakeController
) -> None:
    controller.snapshots = [SETTLED]
    controller.reply = InterventionReply(
        revision=7,
        changed=True,
        interventions=Interventions(),
        verdicts=(FULL,),
        doubts=(replace(UNKNOWN, guard=Guard.HEADROOM),),
    )
    result = run("peer", "drain", "transit1@fra-e1", "--dry-run")
    assert result.code == 4
    assert result.out.splitlines()[:4] == [
        "Guards",
        f"! headroom: transit1@fra-e1: {FULL.sentence}",
        f"? headroom: 198.51.100.0/24: {UNKNOWN.sentence}",
        "refused as it stands; if you mean it, say --yes-i-mean headroom",
    ]


# ---- ROAs of files -------------------------------------------------------------------------


def _changed(tmp_path: Path, *roas: dict[str, object]) -> tuple[Path, Path]:
    new, known = tmp_path / "platform.yaml", tmp_path / "roas.json"
    text = (EXAMPLE / "platform.yaml").read_text()
    assert OLD_LINE in text
    new.write_text(text.replace(OLD_LINE, NEW_LINE))
    known.write_text(json.dumps({"roas": list(roas)}))
    return new, known


def test_files_are_judged_by_a_file_of_roas(
    run: Run, controller: FakeController, tmp_path: Path
) -> None:
    foreign = {"prefix": "198.18.4.0/24", "asn": "AS64999", "maxLength": 24}
    new, known = _changed(tmp_path, foreign)
    result = run("plan", new, "--against", EXAMPLE, "--roas", known)
    assert result.code == 4
    assert "! roa: 198.18.4.0/24: RPKI allows others to announce it, but not AS" in result.out
    ours = {**foreign, "asn": PLATFORM.asn}
    new, known = _changed(tmp_path, ours)
    result = run("plan", new, "--against", EXAMPLE, "--roas", known)
    assert (result.code, "roa:" in result.out) == (3, False)
    new, known = _changed(tmp_path)
    result = run("plan", new, "--against", EXAMPLE, "--roas", known)
    assert (result.code, "? roa: 198.18.4.0/24: no ROA covers it" in result.out) == (3, True)
    result = run("plan", new, "--against", EXAMPLE)
    assert (result.code, "give --roas FILE" in result.out) == (3, True)
    assert controller.asked == []


def test_controllers_need_no_file(run: Run, controller: FakeController, tmp_path: Path) -> None:
    new, known = _changed(tmp_path)
    result = run("plan", new, "--roas", known)
    assert (result.code, "--roas goes with --against" in result.err) == (2, True)
    assert controller.asked == []


def test_another_kind_of_file_is_refused(run: Run, tmp_path: Path) -> None:
    new, known = _changed(tmp_path)
    known.write_text("[]")
    result = run("plan", new, "--against", EXAMPLE, "--roas", known)
    assert (result.code, "is not like" in result.err) == (2, True)
