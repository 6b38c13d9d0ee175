"""What a machine must be beside its ports, and what is said where it is not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pltfrms.model.network.ports import MachineFinding, PortGrade
from pltfrms.model.network.system import Listener, SeenSystem, SysctlLine
from pltfrms.planner.upkeep.system import (
    BAD_DISK_MS,
    SLOW_DISK_MS,
    needed_modules,
    system_findings,
    ways,
)
from pltfrms.specfile import load_platform
from tests.render.platforms import SMALL
from tests.render.roles import PAIR, THREE

EXAMPLE = Path(__file__).parents[3] / "examples/three-servers/platform.yaml"
HOSTERS = load_platform(EXAMPLE)
WELL = SeenSystem(
    modules=dict.fromkeys(("nf_tables", "veth", "sch_ingress", "cls_bpf", "wireguard"), True),
    synchronized=True,
    cores=64,
    memory_bytes=512 << 30,
    free_bytes=100 << 30,
    sync_ms=1.0,
    controllers=frozenset({"cpu", "io", "memory", "pids"}),
    listeners=(Listener(protocol="tcp", port=179, program="bird", ours=True),),
    dropping=(),
)
SYSCTLS = {"net/ipv4/ip_forward": "1"}


def found(platform: Any = HOSTERS, machine: str = "fra1", **words: Any) -> list[MachineFinding]:
    return list(system_findings(platform, machine, replace(WELL, **words), SYSCTLS))


def test_a_machine_that_has_all_gets_no_finding() -> None:
    assert found() == []


def test_what_nobody_could_say_is_no_finding() -> None:
    assert system_findings(HOSTERS, "fra1", SeenSystem(), SYSCTLS) == ()


CASES: list[tuple[dict[str, Any], str, PortGrade, str]] = [
    ({"modules": {"veth": False}}, "kernel", PortGrade.WRONG, "it has no veth"),
    ({"modules": {"wireguard": False}}, "kernel", PortGrade.DOUBTFUL, "wireguard-go"),
    ({"modules": {"cls_bpf": False}}, "kernel", PortGrade.DOUBTFUL, "director: false"),
    ({"synchronized": False}, "clock", PortGrade.DOUBTFUL, "chrony"),
    ({"free_bytes": 1 << 30}, "disk", PortGrade.WRONG, "1024 MiB are free"),
    ({"sync_ms": SLOW_DISK_MS + 1}, "disk", PortGrade.DOUBTFUL, "after 11 ms"),
    ({"sync_ms": BAD_DISK_MS + 1}, "disk", PortGrade.WRONG, "loses its leader"),
    ({"cores": 1}, "size", PortGrade.WRONG, "cpu: 1 or less"),
    ({"memory_bytes": 1 << 30}, "size", PortGrade.WRONG, "memory: 1024MiB or less"),
    ({"controllers": frozenset({"io"})}, "limits", PortGrade.DOUBTFUL, "cpu, memory, pids"),
    ({"dropping": ("inet filter input",)}, "firewall", PortGrade.DOUBTFUL, "7480, 2379, 2380"),
    ({"dropping": ("ip filter forward",)}, "firewall", PortGrade.DOUBTFUL, "policy accept"),
    (
        {"sysctls": (SysctlLine("/etc/sysctl.d/9.conf", "net/ipv4/ip_forward", "0"),)},
        "sysctl",
        PortGrade.DOUBTFUL,
        "/etc/sysctl.d/9.conf sets net.ipv4.ip_forward to 0, and the agent to 1",
    ),
    (
        {"listeners": (Listener(protocol="tcp", port=2379, program="etcd"),)},
        "etcd",
        PortGrade.WRONG,
        "systemctl disable --now etcd",
    ),
    (
        {"listeners": (Listener(protocol="udp", port=51820),)},
        "WireGuard",
        PortGrade.WRONG,
        "another program listens on udp 51820",
    ),
    ({"silent": (("eth0", "fra2"),)}, "way to fra2", PortGrade.DOUBTFUL, "link-local"),
    (
        {"swallowed": (("eth0", "fra2", 41),)},
        "way to fra2",
        PortGrade.DOUBTFUL,
        "it answers, but not to IP protocol 41",
    ),
]


@pytest.mark.parametrize(("words", "use", "grade", "part"), CASES)
def test_each_lack_is_one_finding_with_what_to_do(
    words: dict[str, Any], use: str, grade: PortGrade, part: str
) -> None:
    (finding,) = found(**words)
    assert (finding.use, finding.grade) == (use, grade)
    assert part in f"{finding.what} ({finding.hint})"


def test_who_is_not_on_our_ports_or_is_set_right_later_is_left_alone() -> None:
    lines = (
        SysctlLine("/usr/lib/sysctl.d/1.conf", "net/ipv4/ip_forward", "0"),
        SysctlLine("/etc/sysctl.d/9.conf", "net/ipv4/ip_forward", "1"),
        SysctlLine("/etc/sysctl.d/9.conf", "vm/swappiness", "1"),
    )
    others = (
        Listener(protocol="udp", port=179, program="x"),
        Listener(protocol="tcp", port=22, program="sshd"),
    )
    assert found(sysctls=lines, listeners=others) == []


def test_only_those_who_keep_the_store_need_a_fast_disk() -> None:
    assert found(PAIR, "fra2", sync_ms=900.0, free_bytes=1 << 30) == []
    assert {each.use for each in found(PAIR, "fra1", sync_ms=900.0)} == {"disk"}


def test_only_what_a_machine_does_is_needed() -> None:
    edge, node = SMALL.machine("fra-e1"), SMALL.machine("fra-n1")
    assert "veth" in needed_modules(SMALL, node)
    assert "veth" not in needed_modules(SMALL, edge)
    assert "wireguard" not in needed_modules(PAIR, PAIR.machine("fra1"))
    assert "wireguard" in needed_modules(HOSTERS, HOSTERS.machine("fra1"))


def test_machines_in_fabrics_and_at_far_ends_are_asked_but_not_through_tunnels() -> None:
    asked = [(way.port, way.machine) for way in ways(PAIR, "fra1")]
    assert asked == [("fab-a", "fra2"), ("fab-b", "fra2"), ("bb-ams1", "ams1")]
    assert ways(HOSTERS, "fra1") == ()
    assert len({way.address for way in ways(PAIR, "fra1")}) == 2, "one in all fabrics"
    assert ways(THREE, "fra1")
