"""Fail static: who is lost, hung or restarted in the control plane is not seen by clients."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bench.rig import Rig
from pltfrms.model.network.topology import Role, link_local
from pltfrms.model.services.jobs import OVER, JobRun, RunReason, RunState

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]


def test_controllers_gone_agent_restarted_node_rebooted(healthy: Rig) -> None:
    node = healthy.node_of("fra")
    nexthop = f"{link_local(healthy.snapshot().platform.machine(node))} "
    with healthy.asking(rate=100) as report:
        healthy.client.fault("controllers")
        time.sleep(12)  # four times as long as a machine may be silent
        healthy.client.fault(f"daemon/{node}/agent")
        time.sleep(5)
        healthy.client.heal(f"daemon/{node}/agent")
        time.sleep(3)  # it has taken its instances over
    assert report["lost"] == 0

    def announces() -> bool:
        routes = healthy.run("fra-e1", "ip", "route", "show", "198.51.100.1")
        return nexthop in routes

    # Still without any controller: a rebooted node serves again, from its own disk.
    healthy.client.boot(f"node/{node}")
    healthy.wait("the death is seen", lambda: not announces(), 5)
    healthy.wait("the node announces from disk", announces, 30)
    assert healthy.probe("berlin", "--duration", "1s")["lost"] == 0
    healthy.client.heal(None)
    healthy.restore()
    after = healthy.probe("berlin", "--duration", "4s")
    assert after["lost"] == 0


def test_flushed_rules_and_routes_come_back(healthy: Rig) -> None:
    node = healthy.node_of("fra")
    healthy.run(node, "ip", "rule", "flush")
    healthy.run(node, "ip", "rule", "add", "pref", "32766", "lookup", "main")
    healthy.run(node, "ip", "route", "flush", "table", "100")

    def restored() -> bool:
        rules = healthy.run(node, "ip", "rule")
        routes = healthy.run(node, "ip", "route", "show", "table", "100", check=False)
        return "lookup 100" in rules and "198.51.100.1" in routes

    assert healthy.wait("rule and route are back", restored, 5) < 5
    healthy.wait("an event says so", lambda: "restored" in healthy.cli("events"), 10)


def test_nothing_but_aggregates_leaves(healthy: Rig) -> None:
    ours = {"198.51.100.0/24", "2001:db8:100::/48"}
    for machine in ("transit1", "transit2", "ixp1", "reading"):
        for family in ("4", "6"):
            text = healthy.run(
                machine,
                "birdc",
                "-s",
                "/run/pltfrms/bird.ctl",
                "show",
                "route",
                "where",
                f"bgp_path ~ [= * 64500 * =] && net.type = NET_IP{family}",
                check=False,
            )
            seen = {
                word for line in text.splitlines() for word in line.split()[:1] if "/" in word
            }
            assert seen <= ours, f"{machine} learned {seen - ours} through us"


def test_measured_latency_is_what_was_asked(healthy: Rig) -> None:
    text = healthy.cli("lab", "doctor")
    assert "fra-e1--ams-e2" in text


def test_bad_specs_change_nothing(healthy: Rig, tmp_path: Path) -> None:
    before = healthy.snapshot().revision
    bad = tmp_path / "web.yaml"
    bad.write_text(
        "service: web\nrun: {process: [nginx]}\nreplicas: {per_datacenter: 0}\nprobee: 1\n"
    )
    said = healthy.cli("apply", str(bad), "--yes", expect=2)
    assert f"{bad}:3" in said
    assert f"{bad}:4" in said
    assert healthy.snapshot().revision == before


def test_shell_words(healthy: Rig) -> None:
    assert "ready" in healthy.cli("status")
    assert "web" in healthy.cli("service", "list")
    assert "fra-n1" in healthy.cli("node", "list")
    assert "fra" in healthy.cli("datacenter", "list")
    assert "web.fra.1" in healthy.cli("explain", "service/web")
    assert healthy.client.name in healthy.cli("lab", "list")


def test_no_machine_shows_its_state_to_anybody_else(healthy: Rig) -> None:
    """Directories of instances are theirs, BIRD's are BIRD's: nobody else may write or look."""
    look = (
        "[ ! -e /etc/pltfrms/machine ] || find /var/lib/pltfrms /etc/pltfrms"
        " -path /var/lib/pltfrms/instances -prune"
        " -o ! -type l -perm /077 -printf '%M %u:%g %p\\n'"
    )
    passed = {"/var/lib/pltfrms": "drwx--x--x root:root"}
    for machine in healthy.client.machines():
        for line in healthy.run(machine.name, "sh", "-c", look).splitlines():
            mode, owner, path = line.split(maxsplit=2)
            if f"{mode} {owner}" == passed.get(path):
                continue
            assert path.startswith(("/var/lib/pltfrms/bird", "/var/lib/pltfrms/mrt")), line
            assert owner == "root:bird" or path.endswith(".mrt"), line
            assert mode.endswith("---") or path.endswith(".mrt"), line


JOBS = {
    "migrate": "run: {process: [sh, -c, 'echo began; sleep 10; echo done'], memory: 16MiB}\n"
    "datacenters: [fra]\ntimeout: 1m\n",
    "tick": "run: {process: [date], memory: 16MiB}\n"
    "schedule: '* * * * *'\nmissed: once\ntimeout: 1m\n",
}


def deleted(rig: Rig, job: str) -> bool:
    return bool(rig.cli("job", "delete", job, "--yes"))


def has(rig: Rig, name: str, is_so: Callable[[JobRun], bool]) -> bool:
    """Return whether this is so of a run; controllers may not have heard of it yet."""
    known = rig.snapshot().runs.get(name)
    return known is not None and is_so(known)


def test_a_job_runs_once_whoever_dies_meanwhile(healthy: Rig, tmp_path: Path) -> None:
    for name, words in JOBS.items():
        (tmp_path / f"{name}.yaml").write_text(f"job: {name}\n{words}")
    healthy.cli("apply", str(tmp_path), "--yes")

    def run(number: int) -> JobRun:
        return healthy.snapshot().runs[f"migrate@{number}"]

    def begin(number: int) -> str:
        healthy.cli("job", "run", "migrate")
        name = f"migrate@{number}"
        began = partial(has, healthy, name, lambda each: each.began_ms > 0)
        healthy.wait("it has begun", began, 20)
        return run(number).node

    def said(number: int) -> list[str]:
        """Return what a run said, on whichever nodes."""
        log = f"cat /var/log/pltfrms/instances/migrate@{number}.log || true"
        nodes = [each.name for each in healthy.snapshot().platform.machines_of(Role.NODE)]
        return "".join(healthy.run(node, "sh", "-c", log) for node in nodes).split()

    node = begin(1)
    healthy.client.fault("controllers")
    healthy.client.fault(f"daemon/{node}/agent")
    time.sleep(11)  # it ends, and nobody sees that
    healthy.client.heal(None)
    healthy.wait("it is known how it ended", lambda: run(1).state in OVER, 60)
    assert (run(1).state, run(1).exit_code) == (RunState.SUCCEEDED, 0)
    assert said(1) == ["began", "done"]

    node = begin(2)
    healthy.client.boot(f"node/{node}")
    healthy.wait("it is known that it ended", lambda: run(2).state in OVER, 60)
    assert (run(2).state, run(2).reason) == (RunState.FAILED, RunReason.INTERRUPTED)
    assert said(2) == ["began"]
    assert "migrate@2 said last:\n  began" in healthy.cli("explain", "job/migrate")

    done = partial(has, healthy, "tick@1", lambda each: each.state is RunState.SUCCEEDED)
    healthy.wait("it was due", done, 90)
    for job in JOBS:
        # What is due just now has to end before.
        healthy.wait("it is deleted", partial(deleted, healthy, job), 20)
