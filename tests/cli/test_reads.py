"""Commands that read: words for people, JSON for scripts."""

import datetime as dt
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.cli.platform.events import event_line
from pltfrms.cli.service.foreseeing import WhatIfReport
from pltfrms.cli.shared.complete import fault_targets
from pltfrms.codec import decode
from pltfrms.model.messages.api import Event, SnapshotView
from pltfrms.model.network.topology import Role
from pltfrms.model.running.loads import LoadKind, ServiceLoad
from pltfrms.model.running.redundancy import Loss, Redundancy, Survival, Weakness
from tests.cli.conftest import Run
from tests.cli.world import EXAMPLE, HEALTHY, PLATFORM, FakeController, with_lost


def test_status_is_one_screen_from_one_call(run: Run, controller: FakeController) -> None:
    result = run("status")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].startswith("example: 3 datacenters, 18 machines in contact")
    assert len(lines) < 50
    assert max(len(line) for line in lines) <= 110
    for word in ("fra (Frankfurt)", "fra-n1", "198.51.100.0/24 announced by every edge"):
        assert word in result.out
    assert controller.asked.count("snapshot") == 1


WEAK = Redundancy(
    survival=Survival.NOT_SURVIVED,
    by_subject={"service/web": Survival.NOT_SURVIVED, "store": Survival.NOT_SURVIVED},
    weaknesses=(
        Weakness(
            about="service/web",
            loss=Loss.DATACENTER,
            what="fra",
            survival=Survival.NOT_SURVIVED,
            why="no other datacenter answers clients",
        ),
        Weakness(
            about="store",
            loss=Loss.CONTROLLER,
            survival=Survival.NOT_SURVIVED,
            why="2 of 3 controllers must live, or nothing is decided",
        ),
        Weakness(
            about="backbone",
            loss=Loss.LINK,
            what="fra-e1--ams-e2",
            survival=Survival.NOT_SURVIVED,
            why="some datacenters do not reach each other then",
        ),
    ),
)


def test_status_begins_with_whether_one_more_failure_is_survived(
    run: Run, controller: FakeController
) -> None:
    def first(survival: Survival, weaknesses: tuple[Weakness, ...] = ()) -> str:
        controller.redundancy = Redundancy(survival=survival, weaknesses=weaknesses)
        return run("status").out.splitlines()[0]

    assert first(Survival.SURVIVED, WEAK.weaknesses[2:]) == "one more failure is survived"
    assert first(Survival.NOT_SURVIVED, WEAK.weaknesses) == (
        "one more failure is not survived: service/web without datacenter fra; "
        "store without any controller"
    )
    unknown = tuple(replace(each, survival=Survival.NOT_KNOWN) for each in WEAK.weaknesses)
    many = tuple(replace(unknown[0], about=f"service/s{number}") for number in range(5))
    assert first(Survival.NOT_KNOWN, many).endswith(
        "service/s2 without datacenter fra; and 2 more"
    )


def test_redundancy_names_each_weakness_and_who_does_not_say(
    run: Run, controller: FakeController
) -> None:
    controller.redundancy = WEAK
    result = run("redundancy")
    assert result.code == 0
    assert "without datacenter fra" in result.out
    assert "some datacenters do not reach each other then" in result.out
    assert decode(Redundancy, run("redundancy", "--json").out) == WEAK
    controller.redundancy = None
    assert run("redundancy").code == 5


def test_redundancy_says_what_services_have_to_do_and_where_that_is_not_known(
    run: Run, controller: FakeController
) -> None:
    loads = (
        ServiceLoad(
            service="web", kind=LoadKind.REQUESTS, each=100, declared=150, measured=200, hours=3
        ),
        ServiceLoad(service="web", kind=LoadKind.CPU, each=200, unknown="none is ready"),
    )
    controller.redundancy = Redundancy(survival=Survival.SURVIVED, loads=loads)
    said = run("redundancy").out
    assert "200 requests/s (measured in 3 h; declared: 150)" in said
    assert "100 requests/s" in said
    assert "cpu: not known (none is ready)" in said
    assert "0.2 cores" in said


def test_status_says_what_is_only_the_last_known(run: Run, controller: FakeController) -> None:
    controller.snapshots = [with_lost(HEALTHY, "fra-n1")]
    line = next(line for line in run("status").out.splitlines() if "fra-n1" in line)
    assert "lost" in line
    assert "(last known)" in line


def test_status_survives_a_machine_never_heard_of(run: Run, controller: FakeController) -> None:
    controller.snapshots = [replace(HEALTHY, machines={}, statuses={}, services={})]
    result = run("status")
    assert result.code == 0
    assert "never heard of" in result.out
    assert "no service" in result.out


@pytest.mark.usefixtures("controller")
def test_json_of_every_read_is_a_document(run: Run) -> None:
    assert decode(SnapshotView, run("status", "--json").out).snapshot == HEALTHY
    services = json.loads(run("service", "list", "--json").out)
    assert [(s["name"], s["ready"], s["wanted"]) for s in services] == [("web", 6, 6)]
    detail = json.loads(run("service", "show", "web", "--json").out)
    assert len(detail["replicas"]) == 6
    assert detail["replicas"][0]["address4"] == "10.1.1.1"
    assert len(json.loads(run("node", "list", "--json").out)) == 9
    assert [d["name"] for d in json.loads(run("datacenter", "list", "--json").out)] == [
        "fra", "ams", "lon",
    ]  # fmt: skip
    explained = json.loads(run("explain", "service/web", "--json").out)
    assert explained["about"] == "service/web"
    assert explained["sentences"]
    assert json.loads(run("events", "--json").out) == []


@pytest.mark.usefixtures("controller")
def test_tables(run: Run) -> None:
    assert "6/6" in run("service", "list").out
    shown = run("service", "show", "web").out
    assert "web.fra.1-1" in shown
    assert "10.1.1.1" in shown
    nodes = run("node", "list", "--datacenter", "fra").out
    assert "fra-n3" in nodes
    assert "ams-n1" not in nodes
    assert "6/6 in contact" in run("datacenter", "list").out
    assert "web.fra.1-1: on fra-n1" in run("explain", "service/web").out


@pytest.mark.usefixtures("controller")
def test_nothing_is_coloured_in_a_pipe(run: Run) -> None:
    assert "\x1b" not in run("status").out


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize(
    "arguments", [("service", "show", "nope"), ("explain", "service/nope")]
)
def test_unknown_services_are_refused_with_the_known(
    run: Run, arguments: tuple[str, ...]
) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert "web" in result.err


@pytest.mark.usefixtures("controller")
def test_an_unknown_datacenter_is_refused_with_the_known(run: Run) -> None:
    result = run("node", "list", "--datacenter", "nope")
    assert result.code == 2
    assert "there is no datacenter 'nope'; there are: fra, ams, lon" in result.err


@pytest.mark.usefixtures("controller")
def test_a_disk_that_refuses_is_no_bug_of_ours(run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").write_text("")
    result = run("render", EXAMPLE, "--output", tmp_path / "full" / "deeper")
    assert result.code == 5
    assert f"error: {tmp_path}/full/deeper: Not a directory" in result.err


@pytest.mark.usefixtures("controller")
def test_only_services_are_explained(run: Run) -> None:
    assert run("explain", "web").code == 2


def event(sequence: int) -> Event:
    return Event(
        sequence=sequence,
        at_ms=1_700_000_000_000,
        source="fra-n1",
        about="web.fra.1-1",
        what="instance ready",
        reason="new-replica",
        detail="probes succeed",
    )


def test_events_shows_the_last_ones(run: Run, controller: FakeController) -> None:
    controller.stored = [event(1), replace(event(2), what="instance ended")]
    lines = run("events", "--limit", "1").out.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("web.fra.1-1: instance ended: probes succeed [new-replica]")


def test_an_event_of_another_day_has_its_date_and_order_is_the_stores(
    run: Run, controller: FakeController
) -> None:
    now_ms = time.time_ns() // 1_000_000
    ahead = replace(event(1), at_ms=now_ms + 2 * 86_400_000)
    controller.stored = [ahead, replace(event(2), at_ms=now_ms)]
    first, second = run("events").out.splitlines()
    day = dt.datetime.fromtimestamp(ahead.at_ms / 1000, tz=dt.UTC).astimezone().date()
    assert first.startswith(f"{day} ")
    assert second[2] == ":"


LOOKS = (
    ("status",),
    ("service", "list"),
    ("service", "show", "web"),
    ("node", "list"),
    ("datacenter", "list"),
    ("peer", "list"),
    ("edge", "list"),
    ("edge", "show", "fra-e1"),
    ("session", "list"),
    ("network", "show"),
    ("explain", "service/web"),
    ("events",),
)


@pytest.mark.parametrize("at_ms", [10**18, -(10**18), 10**300])
def test_a_time_that_is_none_hides_no_event(at_ms: int) -> None:
    happened = Event(at_ms=at_ms, source="fra-n1", about="web", what="instance ready")
    assert "web: instance ready" in event_line(happened, dt.date(2026, 1, 1))


@pytest.mark.parametrize("arguments", LOOKS)
def test_without_the_store_looking_shows_what_was_known_last_and_calls_nothing_down(
    run: Run, controller: FakeController, arguments: tuple[str, ...]
) -> None:
    controller.stale_seconds = 23.0
    controller.stored = [event(1)]
    result = run(*arguments)
    assert result.code == 0
    assert "known last" in result.err + result.out
    for wrong in ("never heard of", "not announced", "  nothing", "lost", "cannot be placed"):
        assert wrong not in result.out


def test_without_the_store_events_are_what_was_known_last(
    run: Run, controller: FakeController
) -> None:
    controller.stored, controller.stale_seconds = [event(1)], 23.0
    result = run("events")
    assert result.out.count("instance ready") == 1
    assert result.err.startswith("warning: the store does not answer")


def test_followed_events_go_on_when_the_store_comes_back(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller.stored = [event(1)]
    controller.stale_seconds = 23.0

    def come_back(_seconds: float) -> None:
        controller.stale_seconds = 0.0

    monkeypatch.setattr(time, "sleep", come_back)
    result = run("events", "--follow")
    assert result.code == 130
    assert "asking again" in result.err


def test_events_reads_page_after_page(run: Run, controller: FakeController) -> None:
    controller.stored = [event(number) for number in range(1, 1003)]
    shown = json.loads(run("events", "--limit", "3", "--json").out)
    assert [each["sequence"] for each in shown] == [1000, 1001, 1002]


def test_events_follows_from_the_last_one(run: Run, controller: FakeController) -> None:
    controller.stored = [event(4), event(9)]
    result = run("events", "--follow", "--json")
    assert result.code == 130
    assert [json.loads(line)["sequence"] for line in result.out.splitlines()] == [4, 9]
    assert controller.asked[-2:] == ["events 9 10000", "close"]


def test_events_are_found_by_name_text_and_time_and_counted(
    run: Run, controller: FakeController
) -> None:
    now_ms = time.time_ns() // 1_000_000
    lost = replace(event(3), about="machine/fra-n2", source="controller/fra-c1")
    controller.stored = [
        replace(event(1), at_ms=now_ms - 7_200_000),
        replace(event(2), at_ms=now_ms),
        replace(lost, what="machine lost", at_ms=now_ms),
        replace(event(4), at_ms=now_ms),
    ]

    def shown(*options: str) -> list[int]:
        found = json.loads(run("events", "--json", *options).out)
        return [each["sequence"] for each in found]

    assert shown("--about", "web") == [1, 2, 4]
    assert shown("--about", "web.fra.1-1") == [1, 2, 4]
    assert shown("--about", "fra-n1") == [1, 2, 4], "who says it"
    assert shown("--about", "fra-n*") == [1, 2, 3, 4]
    assert shown("--about", "fra-n") == []
    assert shown("--about", "controller/fra-c1") == [3]
    assert shown("--what", "LOST") == [3]
    assert shown("--since", "1h") == [2, 3, 4]
    assert shown("--about", "web", "--limit", "1") == [4]
    lines = run("events", "--count").out.splitlines()
    assert ["machine lost" in line for line in lines] == [True, False]
    assert lines[1].endswith("(3 times)")
    counted = json.loads(run("events", "--count", "--json").out)
    assert [each["times"] for each in counted] == [1, 3]
    assert run("events", "--count", "--follow").code == 2


def test_followed_events_that_are_not_wanted_are_read_and_not_shown(
    run: Run, controller: FakeController
) -> None:
    controller.stored = [event(4), replace(event(9), about="api.fra.1-1", source="fra-n9")]
    result = run("events", "--follow", "--json", "--about", "web")
    assert [json.loads(line)["sequence"] for line in result.out.splitlines()] == [4]
    assert controller.asked[-2:] == ["events 9 10000", "close"]


# ---- offline -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["platform", "service", "lab"])
def test_schema(run: Run, kind: str) -> None:
    assert json.loads(run("schema", kind).out)["type"] == "object"
    assert run("schema", kind, "--markdown").out.startswith(f"# All of `{kind}.yaml`")


def test_render_writes_a_file_per_machine(run: Run, tmp_path: Path) -> None:
    assert run("render", EXAMPLE, "--output", tmp_path / "out").code == 0
    written = {path.stem for path in (tmp_path / "out").iterdir()}
    assert written == {machine.name for machine in PLATFORM.machines}
    one = run("render", EXAMPLE / "platform.yaml", "--machine", "fra-e1").out
    assert one.strip() == (tmp_path / "out" / "fra-e1.conf").read_text().strip()
    assert run("render", EXAMPLE, "--machine", "nope").code == 2


def test_render_needs_a_platform(run: Run, tmp_path: Path) -> None:
    result = run("render", tmp_path)
    assert (result.code, "platform:" in result.err) == (2, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_code(run: Run, shell: str) -> None:
    assert "_PLTFRMS_COMPLETE" in run("completion", shell).out


def test_fault_targets_cover_the_platform() -> None:
    targets = fault_targets(HEALTHY)
    assert len(targets) == len(set(targets))
    for target in (
        "instance/web/fra/1",
        "node/fra-n1",
        "edge/lon-e2",
        "datacenter/ams",
        "link/fra-e1--ams-e2",
        "fabric/fra/a",
        "daemon/fra-c1/etcd",
        "controllers",
    ):
        assert target in targets
    assert "daemon/fra-n1/etcd" not in targets
    assert len([t for t in targets if t.startswith("node/")]) == len(
        PLATFORM.machines_of(Role.NODE)
    )


@pytest.mark.usefixtures("controller")
def test_what_if_shows_what_is_left_and_changes_nothing(
    run: Run, controller: FakeController
) -> None:
    result = run("what-if", "--lose", "datacenter/fra")
    assert "cpu: not known (6 of 6 instances were not measured)" in result.out
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert lines[0].startswith("without fra-c1, fra-e1, fra-e2")
    assert "web fra 2 2 0 0" in lines
    assert "web ams 2 2 2 2" in lines
    assert any("fra: so many nodes are out of contact" in line for line in lines)
    assert set(controller.asked) == {"snapshot", "close"}
    found = decode(WhatIfReport, run("what-if", "--lose", "datacenter/fra", "--json").out)
    assert [each.settled for each in found.foresight.counts] == [0, 2, 2]


@pytest.mark.usefixtures("controller")
def test_what_if_is_short_where_a_service_has_no_room_left(run: Run) -> None:
    losses = [word for name in ("fra-n1", "fra-n3") for word in ("--lose", f"node/{name}")]
    result = run("what-if", *losses)
    assert result.code == 4
    assert "short: web has 1 of 2 in fra" in result.out
    result = run("what-if", "--lose", "node/fra-n9")
    assert result.code == 2
    assert "there is no node/fra-n9 to lose: did you mean node/fra-n" in result.err


@pytest.mark.usefixtures("controller")
def test_what_if_first_lets_a_change_settle(run: Run, tmp_path: Path) -> None:
    text = (EXAMPLE / "web.yaml").read_text().replace("per_datacenter: 2", "per_datacenter: 3")
    (tmp_path / "web.yaml").write_text(text)
    words = ("what-if", "--lose", "datacenter/lon", "--change", str(tmp_path / "web.yaml"))
    lines = [" ".join(line.split()) for line in run(*words).out.splitlines()]
    assert "web ams 3 3 3 3" in lines


@pytest.mark.usefixtures("controller")
def test_what_if_tells_of_each_loss_what_has_no_room(run: Run, tmp_path: Path) -> None:
    result = run("what-if", "--each")
    assert (result.code, result.out) == (
        0,
        "any one node, and any one datacenter, may be lost: nothing is short\n",
    )
    text = (EXAMPLE / "web.yaml").read_text().replace("{per_datacenter: 2}", "{fra: 3}")
    (tmp_path / "web.yaml").write_text(text)
    result = run("what-if", "--each", "--change", str(tmp_path / "web.yaml"))
    assert result.code == 4
    assert "node/fra-n2" in result.out
    assert "no other datacenter is to run it" in result.out
    assert run("what-if").code == 2
    assert run("what-if", "--each", "--lose", "datacenter/fra").code == 2
