"""A machine of ours: its network, and the director's driver."""

import asyncio
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median_low

from pltfrms.drivers.balancer.kernel import KernelBalancer
from pltfrms.drivers.balancer.ports import Balancer
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.kernel.programs import bpf
from pltfrms.drivers.kernel.programs.bpf import Program, Side, packet_context
from pltfrms.model.running.balancer import BalancerCounts, BalancerSettings, BalancerTable, Hook
from pltfrms.model.running.machine import SERVICE_TABLE, NetworkState, Route
from tests.balancer.actors import Part


class Host(Part):
    """A machine of ours: its network, and the director's driver."""

    def __init__(self, directory: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._network = KernelNetwork()
        self._directory = directory
        self._driver: Balancer | None = None
        self._beats = False

    @property
    def _balancer(self) -> Balancer:
        if self._driver is None:
            raise RuntimeError("the director was not started")
        return self._driver

    def idle(self) -> None:
        if self._beats:
            self._balancer.beat()

    def apply_state(self, state: NetworkState) -> tuple[str, ...]:
        return self._loop.run_until_complete(self._network.apply_state(state))

    def apply_routes(self, routes: Sequence[Route]) -> tuple[str, ...]:
        return self._loop.run_until_complete(
            self._network.apply_routes((SERVICE_TABLE,), routes)
        )

    def attach_instance(self, device: str, pid: int) -> None:
        self._loop.run_until_complete(self._network.attach_instance(device, pid))

    def start(self, settings: BalancerSettings) -> str:
        self._beats = True
        self._driver = KernelBalancer(self._directory, self._network)
        how = self._loop.run_until_complete(self._balancer.start(settings))
        self._balancer.beat()
        return how

    def attach(self, hooks: Sequence[Hook]) -> tuple[str, ...]:
        return self._loop.run_until_complete(self._balancer.attach(hooks))

    def update(
        self,
        lines: Sequence[str],
        routes: Sequence[Route],
        hooks: Sequence[Hook],
        tables: Sequence[BalancerTable],
    ) -> None:
        """Make all that changes what it should be now."""
        self.ip(lines)
        self.apply_routes(routes)
        if self._driver is None:
            return
        for table in tables:
            self._driver.put(table)
        self._driver.beat()
        self._beats = True
        self.attach(hooks)

    def fall_silent(self, seconds: float) -> None:
        """Stop the heartbeat until there is news again; return so much later."""
        self._beats = False
        time.sleep(seconds)

    def counts(self) -> BalancerCounts:
        return self._balancer.counts()

    def installed(self) -> frozenset[int]:
        return self._balancer.installed()

    def program_ns(self, device: str, side: Side, packet: bytes, runs: int = 2000) -> int:
        """Return how long the director's program at a device works on a packet; a median.

        The packet is one from its Ethernet header on. It goes nowhere.
        """
        index = socket.if_nametoindex(device)
        with Program.by_id(bpf.attached(index, side)[0]) as program:
            context = packet_context(ifindex=index)
            return median_low(
                program.test_run(packet, context).duration_ns for _ in range(runs)
            )
