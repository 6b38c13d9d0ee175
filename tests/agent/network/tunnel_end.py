"""One edge with its tunnels and nothing else: `python -m tests.agent.network.tunnel_end ...`.

Runs in the network namespace it is started in, prints its journal, and ends on SIGTERM.
"""

import asyncio
import dataclasses
import sys
from ipaddress import ip_address
from pathlib import Path

from pltfrms.agent.freeze import Frost
from pltfrms.agent.journal import Journal
from pltfrms.agent.network.tunnels import Tunnels
from pltfrms.agent.problems import Problems
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.wireguard.kernel import WireGuard
from pltfrms.model.network.links import LinkKind
from pltfrms.render.kernel import network_state
from tests.render.platforms import SMALL

LINK = dataclasses.replace(
    SMALL.links[0],
    kind=LinkKind.WIREGUARD,
    endpoints=(ip_address("192.0.2.1"), ip_address("192.0.2.2")),
)
TUNNELED = dataclasses.replace(SMALL, peers=(), links=(LINK,))


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


async def be_end(machine: str, secret_file: Path, period_seconds: int) -> None:
    clock = SystemClock()
    journal = Journal(machine, clock, lambda: None)
    problems = Problems(lambda: None)
    frost = Frost(lambda: False)
    driver = WireGuard(secret_file)
    tunnels = Tunnels(driver, clock, journal, problems, frost, period_seconds)
    tunnels.want(TUNNELED, machine)
    network = KernelNetwork()
    running = asyncio.create_task(tunnels.run())
    state = network_state(TUNNELED, machine)
    while not running.done():
        await network.apply_state(state)
        told = journal.oldest(100)
        for event in told:
            say(event.detail)
        journal.confirm(told)
        for problem in problems.sentences:
            say(f"problem: {problem}")
        await asyncio.sleep(0.2)
    running.result()


if __name__ == "__main__":
    asyncio.run(be_end(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
