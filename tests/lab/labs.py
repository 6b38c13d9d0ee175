"""A small lab of stand-ins, and how tests look into it."""

import re
import subprocess
from pathlib import Path

from pltfrms.lab.client.client import LabClient
from pltfrms.lab.parts import (
    LabParts,
    MachineParts,
    Port,
    Segment,
    SegmentKind,
    Unit,
    WiredMachine,
    Wiring,
)

CABLE_DELAY_US = 5_000
FRA_N1, FRA_N2, OUT = "fe80::1", "fe80::2", "fe80::3"
FABRIC, CABLE = "fabric/fra/a", "link/fra-n1--out"

WIRING = Wiring(
    machines=(
        WiredMachine(name="fra-n1", role="node", datacenter="fra"),
        WiredMachine(name="fra-n2", role="node", datacenter="fra"),
        WiredMachine(name="out", role="transit"),
    ),
    segments=(
        Segment(
            name=FABRIC,
            kind=SegmentKind.FABRIC,
            mtu=1600,
            ports=(Port("fra-n1", "fab-a"), Port("fra-n2", "fab-a")),
        ),
        Segment(
            name=CABLE,
            kind=SegmentKind.LINK,
            mtu=1500,
            ports=(Port("fra-n1", "x-out", CABLE_DELAY_US), Port("out", "to-fra-n1")),
        ),
    ),
)

# An instance as an agent leaves it: its own pid namespace, a file in /run. When it ends, so
# does the unit, and its restart is the instance's replacement.
_INSTANCE = """
echo old > /run/pltfrms/proof
unshare --pid --fork sh -c 'sleep 1000 & wait' &
sleep 0.05
mkdir -p /run/pltfrms/instances
read pid < /proc/$!/task/$!/children
echo '{"allocation": "web.fra.1-7", "pid": '$pid'}' > /run/pltfrms/instances/web.fra.1-7.json
wait
"""

PARTS = LabParts(
    wiring=WIRING,
    machines=(
        MachineParts(
            name="fra-n1",
            units=(
                Unit(name="fork", entry="signal:pause"),
                Unit(
                    name="late",
                    command=("sleep", "1000"),
                    needs="/var/lib/pltfrms/late",
                    runs_first=True,
                ),
                Unit(name="instance", command=("sh", "-c", _INSTANCE)),
            ),
            files=(("/etc/pltfrms/machine", "fra-n1\n"),),
            network=(
                "link set fab-a up",
                "address add fe80::1/64 dev fab-a nodad",
                "link set x-out up",
                "address add fe80::1/64 dev x-out nodad",
            ),
        ),
        MachineParts(
            name="fra-n2",
            units=(Unit(name="brief", command=("true",)),),
            network=("link set fab-a up", "address add fe80::2/64 dev fab-a nodad"),
        ),
        MachineParts(
            name="out",
            network=("link set to-fra-n1 up", "address add fe80::3/64 dev to-fra-n1 nodad"),
        ),
    ),
)


def inside(lab: LabClient, place: str, *command: str) -> str:
    """Return what a command says inside a machine or instance."""
    argv = lab.exec_argv(place, command)
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def has_carrier(lab: LabClient, machine: str, interface: str) -> bool:
    return "LOWER_UP" in inside(lab, machine, "ip", "link", "show", "dev", interface)


def ping(lab: LabClient, machine: str, target: str, count: int = 5) -> list[float]:
    """Return the round trips (ms) of the answers that came."""
    options = ("-c", str(count), "-i", "0.02", "-W", "0.3")
    text = inside(lab, machine, "ping", "-6", *options, target)
    return [float(found) for found in re.findall(r"time=([\d.]+) ms", text)]


def unit_state(lab: LabClient, machine: str, unit: str) -> str:
    return next(one for one in lab.machines() if one.name == machine).units[unit]


def family(root: int) -> set[int]:
    """Return the process `root` and all that descend from it."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(words[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def namespaces(pids: set[int]) -> set[str]:
    """Return the namespaces (as `pid:[4026...]`) that these processes are in."""
    found: set[str] = set()
    for pid in pids:
        for kind in ("pid", "net", "mnt", "uts", "ipc"):
            try:
                found.add(str(Path(f"/proc/{pid}/ns/{kind}").readlink()))
            except OSError:
                continue
    return found


def all_pids() -> set[int]:
    return {int(path.name) for path in Path("/proc").glob("[0-9]*")}
