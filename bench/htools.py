"""The planner beside Ganeti's htools (Debian: ganeti-htools-3.0) on the same input.

Every node has room for 27 copies and runs 20. Ganeti's groups are our datacenters, its
instances our replicas. What is asked:

* does all that runs survive the loss of any one node, and how much more would (`hspace`, which
  adds instances until one more would not survive it; we check what runs)
* where what ran on a node goes that is lost (`hbal` for its group, with the node offline; we
  plan for all until nothing is left to do)

Ganeti balances load, disks and memory, we keep numbers and spread; so the figures say how long
each takes for its own answer, and not whose answer is better.

python bench/htools.py [--bin DIR] [--bound SECONDS] [--json]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.rig import machine_words
from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Place
from pltfrms.model.running.state import Contact, MachineView, Snapshot
from pltfrms.model.services.service import Service
from pltfrms.planner.foresight.n_minus_one import n_minus_one
from pltfrms.planner.foresight.settling import settle
from pltfrms.planner.placement.plan import make_plan
from tests.strategies import (
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
    with_all_ready,
)

_T = TypeVar("_T")
_SIZES = ((20, 4, 50), (100, 5, 200))
"""Nodes, datacenters, services; each service has two replicas in each datacenter."""
_MIB = 1 << 20
_COPY_MIB = 1024
_ROOM = 27
"""Copies that fit on a node."""
_DISK_MIB = 10_000_000
_POLICY = "128,1,1024,1,1,1|128,1,1024,1,1,1;32768,64,1048576,16,8,12|drbd|64.0|32.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Who answered what, and how long it took."""

    who: str
    nodes: int
    copies: int
    seconds: float | None
    """None: not within the bound."""
    answer: str


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", default="", help="where hspace and hbal are, if not in PATH")
    parser.add_argument("--bound", type=float, default=120.0, help="seconds for each of them")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    words = parser.parse_args(argv)
    path = f"{words.bin}:{os.environ['PATH']}" if words.bin else os.environ["PATH"]
    if not shutil.which("hspace", path=path):
        parser.error("no hspace; try: apt-get install ganeti-htools-3.0, or --bin DIR")
    results = [each for size in _SIZES for each in _compare(*size, path, words.bound)]
    if words.json:
        rows = [asdict(each) for each in results]
        print(json.dumps({"ran_on": machine_words(), "results": rows}, indent=2))
        return
    print(f"{'who':<22}{'nodes':>6}{'copies':>8}{'seconds':>9}  answer")
    for each in results:
        seconds = "-" if each.seconds is None else f"{each.seconds:.3f}"
        print(f"{each.who:<22}{each.nodes:>6}{each.copies:>8}{seconds:>9}  {each.answer}")
    print(f"on {machine_words()}")


def _compare(
    nodes: int, datacenters: int, services: int, path: str, bound: float
) -> Iterator[Answered]:
    full = _filled(nodes, datacenters, services)
    first = full.platform.machines[0].name
    group = full.platform.machines[0].datacenter
    lost = MachineView(contact=Contact.LOST, since_seconds=9.0)
    without = replace(full, machines={**full.machines, first: lost})
    row = partial(Answered, nodes=nodes, copies=len(full.allocations))

    seconds, gaps = _timed(lambda: n_minus_one(full))
    yield row(who="pltfrms, each loss", seconds=seconds, answer=f"{len(gaps)} gaps")
    words = ("--standard-alloc", f"{_COPY_MIB},{_COPY_MIB},1")
    yield row(
        who="hspace", **_asked(["hspace", *words], full, path, bound, "instances allocated")
    )
    seconds, (_, steps, notes) = _timed(lambda: settle(without))
    placed = sum(isinstance(step, Place) for step in steps)
    said = f"{placed} placed anew, {len(notes)} find no place"
    yield row(who="pltfrms, one loss", seconds=seconds, answer=said)
    yield row(
        who="hbal",
        **_asked(
            ["hbal", "-G", group, "--ignore-soft-errors"], without, path, bound, "olution"
        ),
    )


def _asked(
    command: Sequence[str], snapshot: Snapshot, path: str, bound: float, word: str
) -> dict[str, Any]:
    """Ask a tool of Ganeti; return its seconds, and the line of its answer with the word."""
    with tempfile.NamedTemporaryFile("w", suffix=".data") as file:
        file.write(_text(snapshot))
        file.flush()
        try:
            seconds, done = _timed(
                lambda: subprocess.run(
                    [*command, "-t", file.name],
                    env={**os.environ, "PATH": path},
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=bound,
                )
            )
        except subprocess.TimeoutExpired:
            return {"seconds": None, "answer": f"stopped after {bound:g} s"}
    lines = (done.stdout + done.stderr).splitlines()
    found = [line.strip(" -") for line in lines if word in line]
    return {"seconds": seconds, "answer": (found or lines or ["nothing"])[-1]}


def _text(snapshot: Snapshot) -> str:
    """Return the state as htools read it: groups, nodes, instances, tags, policies."""
    used = Counter(each.node for each in snapshot.allocations.values())
    names = [each.name for each in snapshot.platform.datacenters]
    groups = [f"{name}|uuid-{name}|preferred||" for name in names]
    nodes = []
    for node in snapshot.platform.machines:
        memory, offline = _ROOM * _COPY_MIB, snapshot.contact(node.name) is Contact.LOST
        free = memory - used[node.name] * _COPY_MIB
        disk = _DISK_MIB - 2 * used[node.name] * _COPY_MIB
        nodes.append(
            f"{node.name}|{memory}|0|{free}|{_DISK_MIB}|{disk}|{node.cpu:g}|"
            f"{'Y' if offline else 'N'}|uuid-{node.datacenter}|1||N|0|0|1.0"
        )
    instances = [
        f"{each.id}|{_COPY_MIB}|{_COPY_MIB}|1|running|Y|{each.node}|{second}|drbd||1|1|N"
        for each, second in zip(
            snapshot.allocations.values(), _seconds_of(snapshot), strict=True
        )
    ]
    policies = [f"{owner}|{_POLICY}" for owner in ("", *names)]
    return "\n\n".join("\n".join(part) for part in (groups, nodes, instances, [""], policies))


def _seconds_of(snapshot: Snapshot) -> Iterator[str]:
    """Yield for each copy the node that Ganeti is to fail it over to, in turns."""
    turns: Counter[str] = Counter()
    nodes = snapshot.platform.machines_of
    for each in snapshot.allocations.values():
        others = [n.name for n in nodes(Role.NODE, each.datacenter) if n.name != each.node]
        yield others[turns[each.node] % len(others)]
        turns[each.node] += 1


def _filled(nodes: int, datacenters: int, services: int) -> Snapshot:
    names = [f"d{number:02d}" for number in range(datacenters)]
    platform = make_platform(dict.fromkeys(names, nodes // datacenters), cpu=64.0, others=False)
    machines = tuple(
        replace(each, memory_bytes=_ROOM * _COPY_MIB * _MIB) for each in platform.machines
    )
    empty = make_snapshot(
        replace(platform, machines=machines), tuple(map(_service, range(services)))
    )
    placed = [step.allocation for step in make_plan(empty).steps if isinstance(step, Place)]
    return with_all_ready(replace(empty, allocations={each.id: each for each in placed}))


def _service(number: int) -> Service:
    spec = make_spec(f"s{number:04d}", cpu=0.1, max_per_node=2)
    run = replace(spec.run, memory_bytes=_COPY_MIB * _MIB)
    return make_service(replace(spec, run=run), number % 250 + 1)


def _timed(work: Callable[[], _T]) -> tuple[float, _T]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


if __name__ == "__main__":
    main()
