"""The part of an edge's agent that decides about aggregates, on a real kernel and a real BIRD.

    python -m tests.attacks.announcing_edge SOCKET_OF_BIRD DIRECTORY

It runs in the network namespace it is started in, prints its journal, and ends on SIGTERM.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from pltfrms.agent.freeze import Frost
from pltfrms.agent.journal import Journal
from pltfrms.agent.network.kernel import Kernel
from pltfrms.agent.problems import Problems
from pltfrms.agent.routing.announcer import Announcer
from pltfrms.agent.routing.sessions import Sessions
from pltfrms.drivers.bird.daemon import BirdDaemon
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.model.running.machine import Route
from pltfrms.model.running.plan import Target
from tests.agent.bench import WEB, Bench
from tests.attacks.flapping_world import EDGE, FLAPPED


async def be_edge(socket: Path, directory: Path) -> None:
    clock, network = SystemClock(), KernelNetwork()
    world = replace(
        Bench(EDGE, FLAPPED).make_world(),
        clock=clock,
        network=network,
        bird=BirdDaemon(directory, socket),
    )
    journal = Journal(EDGE, clock, lambda: None)
    problems = Problems(lambda: None)
    frost = Frost(lambda: False)
    sessions = Sessions(world, problems, lambda: None, is_edge=True)
    announcer = Announcer(world, journal, problems, sessions, frost, lambda: FLAPPED)
    announcer.apply(Target(machine=EDGE, generation=1, platform=FLAPPED, services=(WEB,)))
    kernel = Kernel(world, journal, problems, "machine", (announcer,), frost)
    running = [asyncio.create_task(sessions.run()), asyncio.create_task(kernel.run())]
    before: tuple[Route, ...] | None = None
    while not any(task.done() for task in running):
        told = journal.oldest(100)
        for event in told:
            say(f"{event.about} {event.what} {event.detail}")
        journal.confirm(told)
        for problem in problems.sentences:
            say(f"problem: {problem}")
        if announcer.routes() != before:
            before = announcer.routes()
            say(f"routes: {before}")
        await asyncio.sleep(0.2)
    await asyncio.gather(*running)


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(be_edge(Path(sys.argv[1]), Path(sys.argv[2])))
