"""Machines as network namespaces with a real BIRD each, for live tests of the renderers."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from pltfrms.model.network.lab import Lab
from pltfrms.model.network.peering import PeerKind
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.machine import NetworkState
from pltfrms.render.bird import render_bird
from pltfrms.render.emulated.internet import render_internet
from pltfrms.render.kernel import internet_network_state, network_state

_WITH_A_LINE = {PeerKind.TRANSIT, PeerKind.CUSTOMER}


def run(*command: str, stdin: str = "") -> str:
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=30
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr}")
    return done.stdout


def eventually(condition: Callable[[], object], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


_NETS = count()
"""Several may be there at once."""


class Net:
    """All namespaces of one test run."""

    def __init__(
        self, platform: Platform, lab: Lab, directory: Path, extra: Mapping[str, str]
    ) -> None:
        self._extra = extra
        self.platform, self.lab, self.directory = platform, lab, directory
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.machines = (*(machine.name for machine in platform.machines), *lab.machines)
        self._tag = f"rb{os.getpid()}.{next(_NETS)}"

    # ---- questions and commands ------------------------------------------------------------

    def namespace(self, machine: str) -> str:
        return f"{self._tag}-{machine}"

    def ip(self, machine: str, words: str) -> str:
        return run("ip", "-n", self.namespace(machine), *words.split())

    def birdc(self, machine: str, words: str) -> str:
        return run("birdc", "-s", str(self.directory / f"{machine}.ctl"), words)

    def ping(self, machine: str, source: str, target: str) -> bool:
        words = ("ping", "-c1", "-W1", "-I", source, target)
        command = ("ip", "netns", "exec", self.namespace(machine), *words)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def sessions_down(self) -> list[str]:
        """Return every BGP session that is not up, over all machines."""
        return [
            f"{machine}: {line}"
            for machine in self.daemons
            for line in self.birdc(machine, "show protocols").splitlines()
            if " BGP " in line and "Established" not in line
        ]

    # ---- building --------------------------------------------------------------------------

    def build(self) -> None:
        for name in (*self.machines, "switch"):
            run("ip", "netns", "add", self.namespace(name))
            self.ip(name, "link set lo up")
        self._wire()
        for name in self.machines:
            self._apply(name)
        for name in self.machines:
            self._start(name)

    def _wire(self) -> None:
        for link in self.platform.links:
            self._veth(link.a, f"bb-{link.b}", link.b, f"bb-{link.a}")
        for peer in self.platform.peers:
            for session in peer.sessions if peer.kind in _WITH_A_LINE else ():
                self._veth(session.edge, session.interface, peer.name, f"to-{session.edge}")
        ixps = {ixp.name for ixp in self.lab.ixps}
        outside = [(ball.name, ball.upstreams) for ball in self.lab.eyeballs]
        outside += [(transit.name, transit.peerings) for transit in self.lab.transits]
        for name, others in outside:
            for other in others.keys() - ixps:
                self._veth(name, f"to-{other}", other, f"to-{name}")
        for lan, ports in (self._fabrics() | self._ixps()).items():
            self._lan(lan, ports)

    def _fabrics(self) -> dict[str, list[tuple[str, str]]]:
        return {
            f"{datacenter.name}-{fabric}": [
                (machine.name, f"fab-{fabric}")
                for machine in self.platform.machines
                if machine.datacenter == datacenter.name
            ]
            for datacenter in self.platform.datacenters
            for fabric in datacenter.fabrics
        }

    def _ixps(self) -> dict[str, list[tuple[str, str]]]:
        peers = {peer.name: peer for peer in self.platform.peers}
        return {
            ixp.name: [
                (ixp.name, f"lan-{ixp.name}"),
                *((session.edge, session.interface) for session in peers[ixp.name].sessions),
                *(
                    (eyeball.name, f"lan-{ixp.name}")
                    for eyeball in self.lab.eyeballs
                    if ixp.name in eyeball.upstreams
                ),
            ]
            for ixp in self.lab.ixps
        }

    def _veth(self, a: str, a_port: str, b: str, b_port: str) -> None:
        far = f"netns {self.namespace(b)}"
        self.ip(a, f"link add {a_port} type veth peer name {b_port} {far}")

    def _lan(self, lan: str, ports: list[tuple[str, str]]) -> None:
        self.ip("switch", f"link add {lan} type bridge mcast_snooping 0")
        self.ip("switch", f"link set {lan} up")
        for number, (machine, port) in enumerate(ports):
            self._veth("switch", f"{lan}-{number}", machine, port)
            self.ip("switch", f"link set {lan}-{number} master {lan} up")

    def _apply(self, machine: str) -> None:
        state = self._state(machine)
        sysctls = "\n".join(f"{name} = {value}" for name, value in state.sysctls)
        enter = ("ip", "netns", "exec", self.namespace(machine))
        run(*enter, "sysctl", "-q", "-p", "-", stdin=sysctls)
        for device in state.devices:
            self.ip(machine, f"link set {device.name} up")
            for address in device.addresses:
                self.ip(machine, f"addr add {address} dev {device.name}")
        for rule in state.rules:
            for family in "46":
                words = f"rule add pref {rule.preference} lookup {rule.table}"
                self.ip(machine, f"-{family} {words}")

    def _state(self, machine: str) -> NetworkState:
        if machine in self.lab.machines:
            return internet_network_state(self.platform, self.lab, machine)
        return network_state(self.platform, machine)

    def start_again(self, machine: str) -> None:
        """Start a BIRD that was killed as one that finds its routes in the kernel."""
        self._start(machine, "-R")

    def kill(self, machine: str) -> None:
        """Kill a BIRD with SIGKILL."""
        daemon = self.daemons.pop(machine)
        daemon.kill()
        daemon.wait()

    def port(self, machine: str, fabric: str, what: str) -> None:
        """Take a machine out of a fabric (`silent`), or put it back (`heard`).

        It is done in the switch: nobody's own port changes.
        """
        lan = f"{self.platform.machine(machine).datacenter}-{fabric}"
        members = [port for port, _ in self._fabrics()[lan]]
        words = {"silent": "nomaster", "heard": f"master {lan}"}[what]
        self.ip("switch", f"link set {lan}-{members.index(machine)} {words}")

    def _start(self, machine: str, *options: str) -> None:
        if machine in self.lab.machines:
            text = render_internet(self.platform, self.lab, machine)
        else:
            text = render_bird(self.platform, machine)
        log = self.directory / f"{machine}.log"
        config = self.directory / f"{machine}.conf"
        config.write_text(
            text.replace("/var/log/pltfrms/bird.log", str(log)) + self._extra.get(machine, "")
        )
        enter = ("ip", "netns", "exec", self.namespace(machine))
        control = self.directory / f"{machine}.ctl"
        control.unlink(missing_ok=True)  # of one that was killed: nobody answers there
        self.daemons[machine] = subprocess.Popen(
            [*enter, "bird", "-f", "-c", str(config), "-s", str(control), *options],
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: self._answers(control) or self.daemons[machine].poll(), 20)
        if self.daemons[machine].poll() is not None:
            raise RuntimeError(f"BIRD on {machine} does not start; see {log}")

    def _answers(self, control: Path) -> bool:
        """Return whether the BIRD behind a socket answers; the file comes a moment before."""
        command = ("birdc", "-s", str(control), "show", "status")
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        return done.returncode == 0 and "up and running" in done.stdout

    def remove(self) -> None:
        for daemon in self.daemons.values():
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
        for name in (*self.machines, "switch"):
            subprocess.run(
                ("ip", "netns", "del", self.namespace(name)), capture_output=True, check=False
            )


@contextmanager
def network(
    platform: Platform, lab: Lab, directory: Path, extra: Mapping[str, str]
) -> Iterator[Net]:
    """Build it all, `extra` being text added to the configuration of some machines."""
    net = Net(platform, lab, directory, extra)
    try:
        net.build()
        yield net
    finally:
        net.remove()
