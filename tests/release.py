"""What a release does with a store that another one has filled; run in the tree of any release.

It reads JSON on stdin (`Errand`) and writes the entries of the store afterwards to stdout. The
release before has its modules at other places, so each is looked for.
"""

import contextlib
import importlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_STATES = ("pltfrms.controller.records.state", "pltfrms.controller.state")


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is to be done."""

    entries: Mapping[str, str]
    """By key."""
    seconds: float = 0
    """For so long controllers and agents run; 0: the entries are only read."""
    dead: str = ""
    """A machine that is dead all the while."""
    heartbeat: str = ""
    """What a machine sends while they run."""
    replicas: int = 0
    """So many replicas of `web` per datacenter are asked for; 0: nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of it."""

    entries: Mapping[str, str]
    unreadable: tuple[str, ...]
    statuses: tuple[str, ...]
    """Machines of which it is known how they are."""
    refused: str = ""
    """Why what was asked for was not done."""
    settled: bool = False
    """Whether what is wanted runs, each replica once."""
    events: tuple[str, ...] = ()


def run_in(root: Path, errand: Errand) -> Outcome:
    """Have the release whose tree is there do it, by what it has itself."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__))],
        input=json.dumps(asdict(errand)),
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={"PYTHONPATH": f"{root / 'src'}:{root}", "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    lists = {name: tuple(word) for name, word in said.items() if isinstance(word, list)}
    return Outcome(**{**said, **lists})


def _state() -> Any:
    for name in _STATES:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise LookupError(_STATES)


async def _play(errand: Errand) -> Outcome:
    codec = importlib.import_module("pltfrms.codec")
    put = importlib.import_module("pltfrms.drivers.store.ports").Put
    topology = importlib.import_module("pltfrms.model.network.topology")
    cluster_of = importlib.import_module("tests.controller.cluster").Cluster
    state = _state()
    platform = codec.decode(topology.Platform, errand.entries[state.PLATFORM_KEY])
    cluster = cluster_of(platform)
    for key, value in errand.entries.items():
        cluster.state.commit([put(key=key, value=value.encode())], ())
    refused, events = "", tuple[str, ...]()
    if errand.seconds:
        if errand.dead:
            cluster.agents[errand.dead].dead = True
        cluster.start()
        await cluster.clock.sleep(errand.seconds)
        if errand.heartbeat:
            beat = importlib.import_module("pltfrms.model.messages.api").Heartbeat
            await cluster.operations.heartbeat(codec.decode(beat, errand.heartbeat))
        if errand.replicas:
            refused = await _change(cluster, errand.replicas)
            await cluster.clock.sleep(errand.seconds)
        events = tuple(each.what for each in await cluster.operations.events(0, 0, 1000))
    listing = cluster.state.list("/")
    stored = state.Reader().read(cluster.state.list(state.PREFIX))
    return Outcome(
        entries={each.key: each.value.decode() for each in listing.entries if not each.lease},
        unreadable=tuple(stored.unreadable),
        statuses=tuple(sorted(stored.statuses)),
        refused=refused,
        settled=not stored.unreadable and cluster.settled("web"),
        events=events,
    )


async def _change(cluster: Any, replicas: int) -> str:
    change_of = importlib.import_module("pltfrms.model.messages.api").Change
    errors = importlib.import_module("pltfrms.errors")
    try:
        spec = importlib.import_module("tests.strategies").make_spec(replicas=replicas)
        await cluster.operations.apply(change_of(services=(spec,)))
    except errors.PltfrmsError as error:
        return str(error)
    return ""


def main() -> None:
    """Do what stdin says."""
    virtual = importlib.import_module("tests.simulation.virtual")
    errand = Errand(**json.load(sys.stdin))
    with contextlib.redirect_stdout(sys.stderr):  # logs
        outcome = virtual.run_virtual(_play(errand))
    json.dump(asdict(outcome), sys.stdout)


if __name__ == "__main__":
    main()
