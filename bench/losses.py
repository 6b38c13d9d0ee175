"""Measure how soon a dead node is replaced, and that nobody who lives is called lost.

    .venv/bin/python bench/losses.py [--repeat 5] [--busy 60] [--json]

Starts its own lab of examples/three-datacenters (as root). Kills nodes that run a replica, and
makes others silent: each time from the fault until a controller has committed the replacement.
Then an agent is silent for 20 s while its node serves, BIRD restarts on a node, busy loops take
every processor for `--busy` seconds, at ordinary priority and at that of controllers and store;
the store's leader hangs for 20 s, then all its members do, then their disks take 500 ms for
each write (strace holds them up). Counted are machines that are called lost, and replicas that
are moved.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.rig import Rig, machine_words, running_rig
from pltfrms.errors import UnavailableError
from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Reason
from pltfrms.render.etcd import etcd_endpoints

LOST = "machine lost"
WATCHED_SECONDS = 8
"""Controllers that have just begun to watch call nobody lost (2 x TTL + 1 s)."""
SPIN = """
import os, sys
if nice := int(sys.argv[1]):
    os.setsid()
    with open("/proc/self/autogroup", "w") as group:
        group.write(str(nice))
    os.setpriority(os.PRIO_PROCESS, 0, nice)
while True: pass
"""
CONTROL_NICE = -10
"""What the lab gives agents, controllers and members of the store."""
HANG_SECONDS = 20
DISK_MICROSECONDS = 500_000


def seconds_to_replacement(rig: Rig, kind: str) -> float:
    """Do something to a node of fra that runs a replica; return when its replacement began."""
    node = rig.node_of("fra")
    began_ms = time.time_ns() // 1_000_000
    rig.client.fault(f"node/{node}", kind)
    placed: list[int] = []

    def has_begun() -> bool:
        events = rig.events(began_ms)
        placed[:] = [
            event.at_ms
            for event in events
            if event.what == "replica placed" and event.reason == Reason.NODE_LOST
        ]
        return bool(placed)

    rig.wait("a replacement", has_begun, 20)
    return (placed[0] - began_ms) / 1000


def losses_while(rig: Rig, disturb: Callable[[], None]) -> Mapping[str, int]:
    """Disturb the lab; return how many machines were called lost, and replicas moved."""
    began_ms = time.time_ns() // 1_000_000
    disturb()
    time.sleep(2)
    what = [event.what for event in rig.events(began_ms)]
    return {"called lost": what.count(LOST), "replicas moved": what.count("replica placed")}


@contextmanager
def busy_processors(nice: int) -> Iterator[None]:
    """Keep every processor busy at a priority."""
    loops = [
        subprocess.Popen([sys.executable, "-c", SPIN, str(nice)], start_new_session=not nice)
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def silent_agent(rig: Rig, seconds: float) -> None:
    """Hold the agent of a node that serves."""
    target = f"daemon/{rig.node_of('fra')}/agent"
    rig.client.fault(target, "kill")
    time.sleep(seconds)
    rig.client.heal(target)


def restart_bird(rig: Rig) -> None:
    """Kill the routing daemon of a node that serves; its machine starts it again."""
    rig.run(rig.node_of("fra"), "sh", "-c", "kill -9 $(pidof bird)", check=False)
    time.sleep(10)


def be_busy(seconds: float, nice: int = 0) -> None:
    """Take every processor for some time."""
    with busy_processors(nice):
        time.sleep(seconds)


def members(rig: Rig) -> Sequence[str]:
    """Return the machines that have a member of the store, its leader first."""
    platform = rig.snapshot().platform
    names = [machine.name for machine in platform.machines_of(Role.CONTROLLER)]
    urls = ",".join(etcd_endpoints(platform, names[0]))
    words = ("etcdctl", f"--endpoints={urls}", "endpoint", "status", "--write-out=json")
    told = [each["Status"] for each in json.loads(rig.run(names[0], *words))]
    leaders = [each["header"]["member_id"] == each["leader"] for each in told]
    return sorted(names, key=lambda name: not leaders[names.index(name)])


def hang(rig: Rig, machines: Sequence[str], seconds: float = HANG_SECONDS) -> None:
    """Stop these members of the store for some time."""
    for machine in machines:
        rig.client.fault(f"daemon/{machine}/etcd", "hang")
    time.sleep(seconds)
    for machine in machines:
        rig.client.heal(f"daemon/{machine}/etcd")


def slow_disks(rig: Rig, machines: Sequence[str], seconds: float = HANG_SECONDS) -> None:
    """Let whatever these members of the store write take long to reach their disks."""
    calls = "fsync,fdatasync"
    late = f"inject={calls}:delay_exit={DISK_MICROSECONDS}"
    script = f"exec timeout {seconds} strace -qqf -e trace={calls} -e {late} -p $(pidof etcd)"
    argvs = [rig.client.exec_argv(each, ["sh", "-c", script]) for each in machines]
    slowed = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for argv in argvs]
    for one in slowed:
        said = one.communicate()[1]
        if "(DELAYED)" not in said:
            raise UnavailableError(f"no write to disk was held up: {said[-500:]}")


def measure(rig: Rig, repeat: int, busy_seconds: float) -> dict[str, object]:
    """Return the figures."""
    rows: dict[str, object] = {}
    for kind in ("kill", "silent"):
        seconds = []
        for _ in range(repeat):
            rig.restore()
            time.sleep(WATCHED_SECONDS)
            seconds.append(seconds_to_replacement(rig, kind))
        rows[f"node {kind}: replacement begun, s"] = {
            "median": round(statistics.median(seconds), 2),
            "max": round(max(seconds), 2),
        }
    disturbances: Mapping[str, Callable[[], None]] = {
        "agent silent for 20 s": lambda: silent_agent(rig, 20),
        "BIRD killed on a node": lambda: restart_bird(rig),
        f"busy processors for {busy_seconds:g} s": lambda: be_busy(busy_seconds),
        "the same at controllers' priority": lambda: be_busy(busy_seconds, CONTROL_NICE),
        "leader of the store hangs": lambda: hang(rig, members(rig)[:1]),
        "whole store hangs": lambda: hang(rig, members(rig)),
        "disks of the store take 500 ms": lambda: slow_disks(rig, members(rig)),
    }
    for name, disturb in disturbances.items():
        rig.restore()
        time.sleep(WATCHED_SECONDS)
        rows[name] = losses_while(rig, disturb)
    return rows


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--busy", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with running_rig(f"bench-{os.getpid()}") as rig:
        rows = measure(rig, asked.repeat, asked.busy)
    if asked.json:
        print(json.dumps({"ran_on": machine_words(), "rows": rows}, indent=2))
        return
    print(f"ran on: {machine_words()}, load {os.getloadavg()[0]:.1f}\n")
    for name, row in rows.items():
        print(f"{name:36}{json.dumps(row)}")


if __name__ == "__main__":
    main()
