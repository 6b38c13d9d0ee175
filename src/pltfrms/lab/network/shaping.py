"""Who gives wires their delay and loss: netem where the kernel has it, else our relays."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from pltfrms.errors import UnavailableError
from pltfrms.lab.network.impairment import Impairment, PortShape
from pltfrms.lab.network.links import run_batch, run_now
from pltfrms.lab.processes.channel import Channel, GoneError

PORTS_PER_RELAY = 16
_NETEM_FRAMES = 20_000


class Shaper(Protocol):
    """Joins the near end of a port with a far end, with delay and loss between them."""

    name: str
    why: str
    """One sentence for `doctor`."""

    def set(self, near: str, far: str, shape: PortShape) -> None:
        """Join `near` with `far`, or change how they are joined."""
        ...

    def drop(self, near: str) -> None:
        """Stop joining `near` with its far end; either may be gone already."""
        ...

    def ended(self, pid: int) -> bool:
        """Repair what the end of process `pid` broke; say whether it was one of ours."""
        ...


class NetemShaper:
    """A two-port bridge with netem at both ports. Needs `sch_netem` in the kernel."""

    name = "netem"
    why = "the kernel has sch_netem"

    def __init__(self) -> None:
        """Start with no joined ports."""
        self._joined: set[str] = set()

    def set(self, near: str, far: str, shape: PortShape) -> None:
        """Join `near` with `far`, or change how they are joined."""
        if near not in self._joined:
            run_batch(_joint_lines(near, far))
            self._joined.add(near)
        run_batch(netem_lines(near, far, shape), tool="tc")

    def drop(self, near: str) -> None:
        """Stop joining `near` with its far end."""
        self._joined.discard(near)
        run_batch([f"link del {_joint(near)}"])

    def ended(self, pid: int) -> bool:
        """There are no processes here."""
        del pid
        return False


def netem_lines(near: str, far: str, shape: PortShape) -> list[str]:
    """Return the lines of `tc -batch`: frames leave the machine through `far`."""
    return [
        f"qdisc replace dev {interface} root netem limit {_NETEM_FRAMES}"
        f" delay {impairment.delay_us}us loss {impairment.loss_ppm / 10_000:.4f}%"
        for interface, impairment in ((far, shape.outward), (near, shape.inward))
    ]


def _joint(near: str) -> str:
    return f"j{near}"


def _joint_lines(near: str, far: str) -> list[str]:
    joint = _joint(near)
    return [
        f"link add {joint} type bridge stp_state 0 mcast_snooping 0",
        f"link set {joint} up",
        f"link set {near} master {joint}",
        f"link set {far} master {joint}",
    ]


@dataclass(slots=True)
class _RelayProcess:
    pid: int
    channel: Channel
    ports: dict[str, tuple[str, PortShape]] = field(default_factory=dict)
    """Near end -> (far end, shape)."""


class RelayShaper:
    """Relay processes, each for a bounded number of ports; a dead one is replaced."""

    name = "relay"

    def __init__(self, start: Callable[[Channel], int], why: str) -> None:
        """`start` forks a relay process that owns the given end and returns its pid."""
        self.why = why
        self._start = start
        self._relays: list[_RelayProcess] = []

    @property
    def pids(self) -> tuple[int, ...]:
        """The relay processes."""
        return tuple(relay.pid for relay in self._relays)

    def set(self, near: str, far: str, shape: PortShape) -> None:
        """Join `near` with `far`, or change how they are joined."""
        relay = self._relay_of(near) or self._roomy()
        relay.ports[near] = (far, shape)
        with suppress(GoneError):  # then `ended` will tell its successor
            _tell(relay, near)

    def drop(self, near: str) -> None:
        """Stop joining `near` with its far end."""
        relay = self._relay_of(near)
        if relay is not None:
            del relay.ports[near]
            with suppress(GoneError):
                relay.channel.ask({"do": "drop", "port": near})

    def ended(self, pid: int) -> bool:
        """Replace a relay that has ended; its ports carry on with their shapes."""
        for place, relay in enumerate(self._relays):
            if relay.pid == pid:
                relay.channel.close()
                self._relays[place] = self._new(relay.ports)
                for near in relay.ports:
                    with suppress(UnavailableError):  # its machine lost power just now
                        _tell(self._relays[place], near)
                return True
        return False

    def _relay_of(self, near: str) -> _RelayProcess | None:
        return next((relay for relay in self._relays if near in relay.ports), None)

    def _roomy(self) -> _RelayProcess:
        for relay in self._relays:
            if len(relay.ports) < PORTS_PER_RELAY:
                return relay
        self._relays.append(self._new({}))
        return self._relays[-1]

    def _new(self, ports: dict[str, tuple[str, PortShape]]) -> _RelayProcess:
        ours, theirs = Channel.pair()
        pid = self._start(theirs)
        theirs.close()
        ours.other = f"a relay of links (pid {pid} in the lab)"
        return _RelayProcess(pid, ours, ports)


def choose_shaper(start_relay: Callable[[Channel], int]) -> Shaper:
    """Return netem if this kernel has it, else relays; call in the wire room."""
    said = _try_netem()
    if not said:
        return NetemShaper()
    return RelayShaper(start_relay, f"tc refuses netem here: {said}")


def _try_netem() -> str:
    words = ("qdisc", "add", "dev", "lo", "root", "netem", "delay", "1us")
    done = run_now(("tc", *words))
    if done.returncode == 0:
        run_batch(["qdisc del dev lo root"], tool="tc")
    return done.stderr.strip()


def _tell(relay: _RelayProcess, near: str) -> None:
    far, shape = relay.ports[near]
    relay.channel.ask(
        {
            "do": "set",
            "port": near,
            "near": near,
            "far": far,
            "outward": _pair(shape.outward),
            "inward": _pair(shape.inward),
        }
    )


def _pair(impairment: Impairment) -> list[int]:
    return [impairment.delay_us, impairment.loss_ppm]
