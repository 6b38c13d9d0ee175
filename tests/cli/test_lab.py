"""The group `lab`, against a stand-in of a lab."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from pltfrms.cli.lab import life
from pltfrms.cli.lab import probe as lab_probe_module
from pltfrms.cli.shared import connect as connecting
from pltfrms.errors import UnavailableError
from pltfrms.lab.client.prober import ProbeReport
from pltfrms.lab.client.probing import Measurement, PlannedFault
from pltfrms.lab.client.ready import Answer, ReadyReport
from pltfrms.model.services.service import Service
from tests.cli.conftest import Run
from tests.cli.world import EXAMPLE, WEB, FakeController, FakeLab, lab_info

Progress = Callable[[str], None]
REPORT = ProbeReport(
    sent=2000,
    lost=12,
    gap_max_ms=251.0,
    gap_max_ms_by_family={"ipv4": 251.0, "ipv6": 190.0},
    latency_ms={"p50": 12.25, "p99": None},
    answered_by={"before": {"fra": {"web.fra.1": 300}}, "after": {"ams": {"web.ams.1": 700}}},
    errors={"timeout": 12},
    lateness_ms_p99=0.2,
    lossless_after_s=0.251,
)


def test_fault(run: Run, lab: FakeLab) -> None:
    result = run("lab", "fault", "edge/fra-e1", "--kind", "loss=5%", "--for", "1.5s")
    assert (result.code, result.out) == (0, "edge/fra-e1: loss=5%\n")
    assert lab.asked == [("fault", "edge/fra-e1", "loss=5%", 1500)]
    run("lab", "fault", "node/fra-n1")
    assert lab.asked[-1] == ("fault", "node/fra-n1", "kill", None)


@pytest.mark.usefixtures("lab")
def test_a_wrong_target_says_which_is_right(run: Run) -> None:
    result = run("lab", "fault", "edge/none")
    assert (result.code, "did you mean edge/fra-e1" in result.err) == (2, True)
    assert run("lab", "fault", "x", "--for", "5").code == 2


@pytest.mark.usefixtures("lab")
def test_fault_without_target_lists(run: Run) -> None:
    assert "5.0 s from now" in run("lab", "fault").out
    assert json.loads(run("lab", "fault", "--json").out)[0]["kind"] == "cut"


def test_heal_and_boot(run: Run, lab: FakeLab) -> None:
    assert run("lab", "heal").out == "healed\n"
    assert json.loads(run("lab", "heal", "edge/fra-e1", "--json").out) == ["healed"]
    assert run("lab", "boot", "node/fra-n1").out == "booted\n"
    assert lab.asked == [("heal", None), ("heal", "edge/fra-e1"), ("boot", "node/fra-n1")]
    assert run("lab", "boot").code == 2


def test_rewire(run: Run, lab: FakeLab, tmp_path: Path) -> None:
    assert run("lab", "rewire", str(tmp_path)).out == "fra-n4 is new\n"
    assert lab.asked == [("rewire", tmp_path)]
    assert run("lab", "rewire", str(tmp_path / "none")).code == 2


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize("dashes", [(), ("--",)])
def test_exec_becomes_the_command(
    run: Run, monkeypatch: pytest.MonkeyPatch, dashes: tuple[str, ...]
) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr("os.execvp", lambda _file, argv: became.append(argv))
    assert run("lab", "exec", "berlin", *dashes, "ping", "-c", "1", "--lab", "x").code == 0
    assert became == [["ping", "-c", "1", "--lab", "x"]]
    assert run("lab", "exec", "berlin").code == 2
    assert run("lab", "exec", "berlin", "--").code == 2


@pytest.mark.usefixtures("lab")
def test_exec_of_no_program(run: Run) -> None:
    assert run("lab", "exec", "berlin", "--", "/no/such/program").code == 5


@pytest.mark.usefixtures("lab")
def test_pcap_and_shell(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr("os.execvp", lambda _file, argv: became.append(argv))
    assert run("lab", "pcap", "a--b", "-w", tmp_path / "x.pcap").code == 0
    assert run("lab", "shell", "berlin").code == 0
    assert run("lab", "pcap", "fabric/fra/a", "-w", "-").code == 0
    assert became == [
        ["tcpdump", "-i", "link/a--b", "-w", f"{tmp_path}/x.pcap"],
        ["bash", "-i"],
        ["tcpdump", "-i", "fabric/fra/a", "-w", "-"],
    ]
    assert run("lab", "pcap", "a--b").code == 2


@pytest.mark.usefixtures("lab")
def test_doctor(run: Run) -> None:
    out = run("lab", "doctor").out
    assert "fra-e1--ams-e2" in out
    assert "10.12 ms" in out
    assert "no netem" in out
    assert json.loads(run("lab", "doctor", "--json").out)["links"][0]["asked_us"] == 5000


def test_down_and_list(run: Run, lab: FakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("lab", "down").out == "example is gone (250 ms)\n"
    assert lab.asked == [("down",)]
    monkeypatch.setattr(life, "running_labs", lambda: (lab_info("one"),))
    assert "one" in run("lab", "list").out
    assert json.loads(run("lab", "list", "--json").out)[0]["name"] == "one"
    monkeypatch.setattr(life, "running_labs", tuple)
    assert "no lab runs" in run("lab", "list").out
    assert json.loads(run("lab", "list", "--json").out) == []


@pytest.fixture
def started(
    monkeypatch: pytest.MonkeyPatch, controller: FakeController, lab: FakeLab
) -> list[object]:
    """Let `lab up` start the stand-in; return what was done."""
    done: list[object] = []

    def start(directory: Path, name: str | None, on_progress: Progress, by: str) -> FakeLab:
        assert by == connecting.starter()
        on_progress("machines started")
        done.append(("start", directory, name))
        return lab

    def wait(
        _client: FakeLab, timeout_seconds: float, _on_progress: Progress, applied: int
    ) -> ReadyReport:
        done.append(("wait", timeout_seconds, applied))
        answer = Answer(
            eyeball="berlin", service="web", address="198.51.100.1", datacenter="fra"
        )
        return ReadyReport(seconds=1.0, sessions=36, replicas=6, answers=(answer,))

    def apply(*_: object) -> int:
        done.append("apply")
        return 7

    monkeypatch.setattr(life, "start_lab", start)
    monkeypatch.setattr(life, "apply_services", apply)
    monkeypatch.setattr(life, "wait_ready", wait)
    monkeypatch.setattr(life, "OperatorClient", lambda _endpoints: controller)
    monkeypatch.setattr(life, "running_labs", lambda: (lab_info(lab.name),))
    return done


def test_up_ends_with_a_status_and_three_things_to_try(run: Run, started: list[object]) -> None:
    result = run("lab", "up", EXAMPLE, "--lab", "x", "--timeout", "30s")
    assert result.code == 0
    assert started == [("start", EXAMPLE, "x"), "apply", ("wait", 30.0, 7)]
    assert "machines started" in result.err
    assert "example: 3 datacenters, 18 machines in contact" in result.out
    assert "berlin" in result.out
    tries = result.out.partition("Three things to try:")[2].splitlines()
    assert [line.split()[0] for line in tries if line.startswith("  pltfrms")] == [
        "pltfrms"
    ] * 3
    assert "pltfrms lab probe web --from berlin --fault edge/fra-e1:silent" in result.out


@pytest.mark.usefixtures("started")
def test_a_lab_is_named_by_one_option_everywhere(run: Run) -> None:
    wrong = run("lab", "up", EXAMPLE, "--name", "x")
    assert (wrong.code, "No such option" in wrong.err) == (2, True)


@pytest.mark.usefixtures("lab")
def test_the_end_of_a_lab_is_told_to_scripts_too(run: Run) -> None:
    document = json.loads(run("lab", "down", "--json").out)
    assert document == {"lab": "example", "seconds": 0.25}
    assert run("lab", "down").out == "example is gone (250 ms)\n"


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (("root@here in /elsewhere",), "no lab that runs was started here"),
        (("",), "no lab that runs was started here"),
        (("nobody", "root@here in /elsewhere"), "no lab that runs was started here"),
        (("me", "me"), "several labs were started here"),
    ],
)
def test_down_without_a_name_ends_nobody_elses_lab(
    run: Run,
    lab: FakeLab,
    monkeypatch: pytest.MonkeyPatch,
    others: tuple[str, ...],
    words: str,
) -> None:
    labs = [
        replace(lab_info(f"lab{at}"), started_by=by.replace("me", connecting.starter()))
        for at, by in enumerate(others)
    ]
    monkeypatch.setattr(connecting, "running_labs", lambda: tuple(labs))
    refused = run("lab", "down")
    assert (refused.code, lab.asked) == (2, [])
    assert words in refused.err
    for each in labs:
        assert f"pltfrms lab down --lab {each.name}    of /x" in refused.err
        assert each.started_by in refused.err


def test_down_without_a_name_ends_the_one_that_was_started_here(
    run: Run, lab: FakeLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = replace(lab_info(lab.name), started_by=connecting.starter())
    theirs = replace(lab_info("theirs"), started_by="ada@here in /srv")
    monkeypatch.setattr(connecting, "running_labs", lambda: (mine, theirs))
    assert (run("lab", "down").code, lab.asked) == (0, [("down",)])
    monkeypatch.chdir(tmp_path)
    assert (run("lab", "down").code, len(lab.asked)) == (2, 1)
    assert (run("lab", "down", "--lab", lab.name).code, len(lab.asked)) == (0, 2)


def test_up_may_apply_nothing(run: Run, started: list[object]) -> None:
    assert run("lab", "up", EXAMPLE, "--no-apply", "--json").code == 0
    assert started == [("start", EXAMPLE, None), ("wait", 60.0, 0)]
    assert run("lab", "up", EXAMPLE / "nowhere").code == 2


@pytest.fixture
def measured(
    monkeypatch: pytest.MonkeyPatch, controller: FakeController
) -> list[tuple[Service, Measurement]]:
    calls: list[tuple[Service, Measurement]] = []
    assert controller.snapshots

    def probe(_lab: FakeLab, service: Service, wanted: Measurement) -> ProbeReport:
        calls.append((service, wanted))
        return REPORT

    monkeypatch.setattr(lab_probe_module, "probe_service", probe)
    return calls


@pytest.mark.usefixtures("lab")
def test_probe(run: Run, measured: list[tuple[Service, Measurement]]) -> None:
    command = ["lab", "probe", "web", "--from", "berlin", "--rate", "100", "--duration", "5s"]
    result = run(*command, "--fault", "edge/fra-e1:silent", "--at", "2s")
    assert result.code == 0
    fault = PlannedFault(target="edge/fra-e1", kind="silent", at_ms=2000)
    wanted = Measurement(client="berlin", rate=100.0, duration_ms=5000, fault=fault)
    assert measured == [(WEB, wanted)]
    assert result.out.splitlines()[:4] == [
        "2000 requests from berlin, 12 lost, longest gap 251 ms (ipv4 251 ms, ipv6 190 ms)",
        "lost: 12 timeout",
        "latency: p50 12.2 ms, p99 unknown",
        "fault edge/fra-e1 (silent) after 2 s; nothing lost any more 251 ms later",
    ]
    assert "web.ams.1" in result.out


@pytest.mark.usefixtures("lab")
def test_probe_as_json(run: Run, measured: list[tuple[Service, Measurement]]) -> None:
    document = json.loads(run("lab", "probe", "web", "--from", "berlin", "--json").out)
    assert document["gap_max_ms"] == 251.0
    assert document["answered_by"]["before"] == {"fra": {"web.fra.1": 300}}
    assert measured[0][1].fault is None


@pytest.mark.usefixtures("lab", "measured")
def test_probe_of_an_unknown_service(run: Run) -> None:
    assert run("lab", "probe", "nope", "--from", "berlin").code == 2


@pytest.mark.parametrize("powered", [True, False])
def test_probe_needs_no_controller(
    run: Run,
    lab: FakeLab,
    controller: FakeController,
    measured: list[tuple[Service, Measurement]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    powered: bool,
) -> None:
    def nobody() -> NoReturn:
        raise UnavailableError("no controller answers")

    lab.controllers_have_power = powered
    monkeypatch.setattr(controller, "snapshot", nobody)
    monkeypatch.setattr(connecting, "running_labs", lambda: (lab_info(lab.name),))
    result = run("lab", "probe", "web", "--from", "berlin", "--json")
    assert (result.code, measured[0][0]) == (0, WEB)
    assert json.loads(result.out)["sent"] == REPORT.sent
    assert "what its nodes were last told" in result.err
    assert run("lab", "probe", "nope", "--from", "berlin").code == 2


def test_a_lab_whose_controllers_have_no_power_does_not_answer(run: Run, lab: FakeLab) -> None:
    lab.controllers_have_power = False
    result = run("status")
    assert (result.code, "lab boot controller/" in result.err) == (5, True)
