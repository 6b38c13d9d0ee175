"""Compare what `what-if` foresees of losses with what becomes of them in a lab.

    .venv/bin/python bench/whatif.py [--json] [KIND/NAME[,KIND/NAME...] ...]

Starts its own lab of examples/three-datacenters (as root) and loses one thing after the other:
those that are named (`node/fra-n1`, `edge/E`, `datacenter/D`; with commas, several at once), or
else a node that runs a replica, an edge and a datacenter. Of each it first asks
`pltfrms what-if --lose`, then takes the power away, and waits until nothing changes any more.
Compared are which node has which replica, how many replicas are ready in each datacenter, and
which datacenters answer each network of clients: the share of its requests, in IPv4 and IPv6,
that each of them answers, to 5 points.
Exit code 1 if something is not as it was foreseen.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.rig import EXAMPLE, Rig, machine_words, running_rig
from pltfrms.cli.network.catchment import expected_answers
from pltfrms.cli.service.foreseeing import WhatIfReport
from pltfrms.cli.shared.specs import load_lab, load_platform
from pltfrms.codec import decode
from pltfrms.model.network.lab import Lab
from pltfrms.model.running.plan import Place
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.planner.foresight.losing import lost_of
from pltfrms.planner.foresight.settling import executed
from pltfrms.planner.foresight.what_if import what_if

POINTS_MAX = 5.0
QUIET_SECONDS = 10.0
"""So long nothing has changed: longer than it takes until a loss is noticed, and replaced."""
RATE, SECONDS = 100, 4
SERVICE = "web"

Placement = frozenset[tuple[str, str]]
"""Replicas (`web.fra.1`), each with its node."""
Shares = Mapping[str, Mapping[str, float]]
"""Of each network of clients, which percentage each datacenter answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where replicas are, how many are ready, and who answers."""

    placement: Placement
    ready: Mapping[str, int]
    """By datacenter."""
    shares: Shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was foreseen of a loss, and what came."""

    loss: str
    replicas_moved: int
    """As it was foreseen."""
    misplaced: tuple[str, ...]
    """Replicas that are elsewhere than it was foreseen, or on one side alone."""
    ready_foreseen: Mapping[str, int]
    ready: Mapping[str, int]
    clients_moved: int
    """Networks of clients of which another datacenter was to answer."""
    points: float
    """By how much the worst share is off."""
    shares_foreseen: Shares
    shares: Shares

    @property
    def is_true(self) -> bool:
        """Whether it came as it was foreseen."""
        same = not self.misplaced and self.ready == self.ready_foreseen
        return same and self.points <= POINTS_MAX


def foreseen(rig: Rig, lab: Lab, loss: str) -> tuple[Outcome, int, int]:
    """Ask the command, as a person would; also return how many replicas and clients move."""
    now = rig.snapshot()
    words = [word for each in loss.split(",") for word in ("--lose", each)]
    report = decode(WhatIfReport, rig.cli("what-if", *words, "--json"))
    moves = [each for each in report.clients if each.service == SERVICE]
    answers = expected_answers(now, lab, now.services[SERVICE])
    answers |= {each.client: each.then for each in moves}
    outcome = Outcome(
        placement=placement_of(executed(now, report.foresight.steps)),
        ready={each.datacenter: each.settled for each in report.foresight.counts},
        shares={client: even_shares(answer) for client, answer in answers.items()},
    )
    return outcome, sum(isinstance(s, Place) for s in report.foresight.steps), len(moves)


def placement_of(snapshot: Snapshot) -> Placement:
    """Return which node has which replica."""
    every = snapshot.allocations.values()
    return frozenset((f"{a.service}.{a.datacenter}.{a.replica}", a.node) for a in every)


def even_shares(answer: str) -> Mapping[str, float]:
    """Return the shares of datacenters to which equally good paths lead."""
    names = [name for name in answer.split("|") if name != "-"]
    return {name: 100 / len(names) for name in names}


def come_true(rig: Rig, lab: Lab, loss: str) -> Outcome:
    """Lose it for real, and look at what is left once nothing changes any more."""
    gone = lost_of(rig.snapshot().platform, loss.split(",")).machines
    for each in loss.split(","):
        rig.client.fault(each)
    rig.wait(
        "the loss is noticed",
        lambda: not any(rig.snapshot().contact(each) is Contact.PRESENT for each in gone),
        30,
    )
    snapshot = quiet(rig)
    clients = [eyeball.name for eyeball in lab.eyeballs]
    with ThreadPoolExecutor(len(clients)) as pool:
        shares = list(pool.map(lambda client: measured_shares(rig, client), clients))
    return Outcome(
        placement=placement_of(snapshot),
        ready={each.datacenter: each.now for each in what_if(snapshot, ())[0].counts},
        shares=dict(zip(clients, shares, strict=True)),
    )


def quiet(rig: Rig) -> Snapshot:
    """Wait until replicas are where they were for a while, and as ready; return the state."""
    seen: list[object] = []
    since = time.monotonic()

    def is_quiet() -> bool:
        nonlocal since
        snapshot = rig.snapshot()
        now = (snapshot.allocations, what_if(snapshot, ())[0].counts)
        if [now] != seen:
            seen[:], since = [now], time.monotonic()
        return time.monotonic() > since + QUIET_SECONDS

    rig.wait("nothing changes", is_quiet, 120)
    return rig.snapshot()


def measured_shares(rig: Rig, client: str) -> Mapping[str, float]:
    """Ask from a network of clients; lost requests count as nobody's."""
    report = rig.probe(client, "--rate", str(RATE), "--duration", f"{SECONDS}s")
    counts = {dc: sum(some.values()) for dc, some in report["answered_by"]["before"].items()}
    return {dc: 100 * count / report["sent"] for dc, count in counts.items()}


def points_off(one: Shares, other: Shares) -> float:
    """Return by how many points the worst share differs."""
    return max(
        abs(one.get(client, {}).get(site, 0) - other.get(client, {}).get(site, 0))
        for client in {*one, *other}
        for site in {*one.get(client, {}), *other.get(client, {}), ""}
    )


def compare(rig: Rig, lab: Lab, loss: str) -> Row:
    """Foresee a loss, let it happen, and undo it."""
    rig.restore()
    quiet(rig)
    said, replicas, clients = foreseen(rig, lab, loss)
    came = come_true(rig, lab, loss)
    rig.restore()
    return Row(
        loss=loss,
        replicas_moved=replicas,
        misplaced=tuple(sorted({name for name, _ in said.placement ^ came.placement})),
        ready_foreseen=said.ready,
        ready=came.ready,
        clients_moved=clients,
        points=round(points_off(said.shares, came.shares), 1),
        shares_foreseen=said.shares,
        shares=came.shares,
    )


def losses_of(rig: Rig) -> Sequence[str]:
    """Return a node that runs a replica, an edge, and a datacenter."""
    return (f"node/{rig.node_of('fra')}", "edge/lon-e1", "datacenter/fra")


def lab_words() -> Lab:
    """Return the emulated internet of the example."""
    return load_lab(EXAMPLE / "lab.yaml", load_platform(EXAMPLE / "platform.yaml"))


def show(rows: Sequence[Row]) -> None:
    """Print the table for people."""
    print(f"ran on: {machine_words()}, load {os.getloadavg()[0]:.1f}\n")
    head = f"{'loss':18}{'replicas moved':>16}{'misplaced':>11}{'ready, foreseen':>24}"
    print(f"{head}{'ready':>24}{'clients moved':>15}{'shares off':>12}")
    for row in rows:
        said, came = (_counts(each) for each in (row.ready_foreseen, row.ready))
        print(
            f"{row.loss:18}{row.replicas_moved:>16}{len(row.misplaced):>11}{said:>24}{came:>24}"
            f"{row.clients_moved:>15}{row.points:>7} points"
        )


def _counts(ready: Mapping[str, int]) -> str:
    return ", ".join(f"{site} {count}" for site, count in ready.items())


def main() -> int:
    """Compare, and print a table; return 1 if something came otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("losses", nargs="*", metavar="KIND/NAME", help="what to lose")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    lab = lab_words()
    with running_rig(f"bench-{os.getpid()}") as rig:
        rows = [compare(rig, lab, loss) for loss in asked.losses or losses_of(rig)]
    if asked.json:
        document = [asdict(row) | {"is_true": row.is_true} for row in rows]
        print(json.dumps({"ran_on": machine_words(), "rows": document}, indent=2))
    else:
        show(rows)
    return 0 if all(row.is_true for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
