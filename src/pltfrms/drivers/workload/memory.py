"""The twins of the `process` runtime and its prober, for tests and simulation.

A `MemoryWorkload` is the machine's side: it lives on when an agent is replaced by its next
life. Time is the clock's, so that a virtual one works.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from pltfrms.drivers.kernel.ports import Network
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.workload.disks.volumes import GONE
from pltfrms.drivers.workload.instance.instance_files import fingerprint_of
from pltfrms.drivers.workload.ports import (
    CONNECTIONS_UNKNOWN,
    RecordReport,
    VolumeUse,
    kept_on,
)
from pltfrms.errors import ConflictError, UnavailableError
from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import (
    Instance,
    InstanceSpec,
    Outgoing,
    PortRules,
    ProbeAnswer,
)
from pltfrms.model.services.service import Probe, ProbeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How instances of a spec behave."""

    refuses: str = ""
    """Why it cannot be started; `` if it can."""
    image: asyncio.Event | None = None
    """Set when its image is here; None: it is."""
    start_ms: int = 50
    healthy_after_ms: int = 0
    """It answers probes from then on, counted from its start."""
    crash_after_ms: int | None = None
    """It ends by itself then, counted from its start."""
    ignores_sigterm: bool = False
    answer_ms: int = 0
    """It takes so long for an answer."""
    fails: frozenset[str] = frozenset()
    """Of these paths it answers that it has not got them."""


GOOD = Behaviour()


@dataclass(slots=True)
class MemoryInstance:
    """An imagined process."""

    instance: Instance
    behaviour: Behaviour
    started_at: float
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    hung: bool = False
    connections: int = 0
    how: str = ""
    outgoing: Outgoing | None = None
    names: tuple[str, ...] = ()
    volume: str = ""
    ports: PortRules | None = None
    live: tuple[tuple[str, str], ...] = ()
    signals: list[str] = field(default_factory=list)
    ran: list[tuple[str, ...]] = field(default_factory=list)
    """Commands of `exec` probes, oldest first."""
    values: frozenset[tuple[str, int]] = frozenset()
    """Of secrets that can become others while it runs, by name."""


class MemoryWorkload:
    """`ports.Workload` without processes."""

    unlimited = ""
    """Why nobody's use of the disk is limited here; empty: it is."""

    def __init__(
        self,
        clock: Clock,
        network: Network,
        behave: Callable[[InstanceSpec], Behaviour] = lambda _spec: GOOD,
    ) -> None:
        """Start with no instance; `behave` is asked at every start."""
        self.clock = clock
        self.behave = behave
        self._network = network
        self._pid = 1000
        self._running: dict[str, MemoryInstance] = {}
        self.disk: dict[str, dict[str, VolumeUse]] = {}
        """Volumes, with what is in their directories."""
        self.record_report = RecordReport()
        self.refuses_addresses = ""
        """Why no running instance can be given other addresses; `` if they can."""
        self.refuses_ports = ""
        """Why no running instance can be given other ports; `` if they can."""
        self.refusals: Mapping[str, int] = {}
        """Packets that each instance with rules has refused, by why."""
        self.refuses_names = ""
        """Why no running instance can be told of names; `` if they can."""
        self._names: tuple[str, ...] = ()
        self.unwell: set[str] = set()
        """Allocations whose instances answer that they are not healthy; with a path behind
        (`web.fra.1-1 /alive`), or a command, only to that question."""
        self.rates: dict[str, float] = {}
        """Connections that instances accept in a second, by allocation."""
        self.cores: dict[str, float] = {}
        """How many cores instances use, by allocation."""
        self.hogging: dict[str, str] = {}
        """What instances take too much of, by allocation."""
        self.images_kept: AbstractSet[str] | None = frozenset()
        """Which images were to stay when we were last called to remove some."""
        self.epochs: dict[str, int] = {}  # that instances answer, by allocation
        self._last_words, self._crashes = dict[str, str](), set[asyncio.Task[None]]()

    async def running(self) -> Mapping[str, Instance]:
        """See `ports.Workload`."""
        return {name: one.instance for name, one in self._running.items()}

    async def start(self, spec: InstanceSpec) -> Instance:
        """See `ports.Workload`. Raises what `ProcessRuntime.start` raises."""
        present = self._running.get(spec.allocation)
        if present is not None:
            if present.instance.fingerprint == fingerprint_of(spec):
                return present.instance
            raise ConflictError(f"{spec.allocation} runs from an older spec: stop it first")
        self._require_volume(spec)
        behaviour = self.behave(spec)
        await self.clock.sleep(behaviour.start_ms / 1000)
        if behaviour.refuses:
            raise UnavailableError(f"{spec.allocation} did not start: {behaviour.refuses}")
        self._pid += 1
        if spec.adopted is None:
            await self._network.attach_instance(spec.device, self._pid)
        else:
            await self._network.attach_here(spec.device, spec.service_addresses)
        one = MemoryInstance(
            Instance(
                allocation=spec.allocation,
                pid=self._pid,
                device=spec.device,
                fingerprint=fingerprint_of(spec),
                unit=spec.adopted.unit if spec.adopted else "",
                stop_grace_ms=spec.stop_grace_ms,
            ),
            behaviour,
            self.clock.monotonic(),
            outgoing=spec.outgoing,
            names=self._names,
            volume=spec.volume,
            ports=spec.ports,
            live=spec.live,
            values=_values_of(spec),
        )
        self._running[spec.allocation] = one
        if spec.volume:
            names = [each.name for each in spec.storage.volumes] if spec.storage else []
            empty = dict.fromkeys(names, VolumeUse(0, limited=False))
            self.disk[spec.volume] = {**empty, **self.disk.get(spec.volume, {})}
        if behaviour.crash_after_ms is not None:
            ends = self._end_later(one, behaviour.crash_after_ms, "exited with status 1")
            self._later(ends)
        if spec.lifetime_ms:
            self._later(
                self._end_later(
                    one, spec.lifetime_ms, "killed by signal 15 when its time was over"
                )
            )
        return one.instance

    def _later(self, end: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(end)
        self._crashes.add(task)
        task.add_done_callback(self._crashes.discard)

    def know(self, names: Sequence[str]) -> None:
        """See `ports.Workload`."""
        self._names = tuple(names)

    async def tell(self) -> None:
        """See `ports.Workload`. Raises what `ProcessRuntime.tell` raises."""
        if self.refuses_names:
            raise OSError(self.refuses_names)
        for one in self._running.values():
            one.names = self._names

    async def fetch(self, spec: InstanceSpec) -> None:
        """See `ports.Workload`."""
        image = self.behave(spec).image
        if image is not None:
            await image.wait()

    def doing(self, spec: InstanceSpec) -> str:
        """See `ports.Workload`."""
        image = self.behave(spec).image
        return "" if image is None or image.is_set() else "fetches its image"

    async def renumber(self, instance: Instance, spec: InstanceSpec) -> None:
        """See `ports.Workload`. Raises what `ProcessRuntime.renumber` raises."""
        one = self.find(instance)
        if one is None:
            raise UnavailableError(f"{instance.allocation} does not run")
        if self.refuses_addresses:
            raise UnavailableError(f"{instance.allocation}: {self.refuses_addresses}")
        one.outgoing = spec.outgoing

    async def answer_on(self, instance: Instance, spec: InstanceSpec) -> None:
        """See `ports.Workload`. Raises what `ProcessRuntime.answer_on` raises."""
        if self.refuses_ports:
            raise UnavailableError(self.refuses_ports)
        one = self.find(instance)
        if one is not None:
            one.ports = spec.ports

    async def renew_secrets(self, instance: Instance, spec: InstanceSpec) -> bool:
        """See `ports.Workload`."""
        one = self.find(instance)
        if one is None:
            return False
        before, one.values = one.values, _values_of(spec)
        return one.values != before

    async def rewrite(self, spec: InstanceSpec) -> bool:
        """See `ports.Workload`."""
        one = self._running.get(spec.allocation)
        if one is None:
            return False
        before, one.live = dict(one.live), tuple({**dict(one.live), **dict(spec.live)}.items())
        return before != dict(one.live)

    async def signal(self, instance: Instance, name: str) -> None:
        """See `ports.Workload`."""
        if one := self.find(instance):
            one.signals.append(name)

    async def refused(self, instance: Instance) -> Mapping[str, int]:
        """See `ports.Workload`; what tests have set as `refusals`."""
        one = self.find(instance)
        return self.refusals if one and one.ports else {}

    async def stop(self, instance: Instance, grace_ms: int) -> str:
        """See `ports.Workload`."""
        one = self.find(instance)
        if one is None:
            return ""
        if one.behaviour.ignores_sigterm or one.hung:
            await self.clock.sleep(grace_ms / 1000)
            await self._end(one, "killed together with its init process")
            return kept_on(grace_ms)
        await self._end(one, "exited with status 0")
        return ""

    async def wait(self, instance: Instance) -> str:
        """See `ports.Workload`."""
        one = self.find(instance)
        if one is None:
            return self._last_words.get(instance.allocation, "ended long ago")
        await one.ended.wait()
        return one.how

    async def rotate_logs(self, images: AbstractSet[str] | None = None) -> None:
        """See `ports.Workload`; there are no logs."""
        self.images_kept = images

    def records(self) -> RecordReport:
        """See `ports.Workload`; what tests have set as `record_report`."""
        said, self.record_report = self.record_report, replace(self.record_report, mended=())
        return said

    def cpu_seconds(self, instance: Instance) -> float | None:
        """See `ports.Workload`: as busy as it is said to be since it began."""
        one = self.find(instance)
        if one is None:
            return None
        cores = self.cores.get(instance.allocation, 0.0)
        return cores * (self.clock.monotonic() - one.started_at)

    def io_free(self, instance: Instance) -> str:
        """See `ports.Workload`; what tests have set as `unlimited`."""
        return self.unlimited if self.find(instance) else ""

    def hogs(self) -> Mapping[str, str]:
        """See `ports.Workload`; what tests have set as `hogging`."""
        return {name: said for name, said in self.hogging.items() if name in self._running}

    def _require_volume(self, spec: InstanceSpec) -> None:
        if spec.volume in self._volumes_in_use():
            raise UnavailableError(f"{spec.allocation} did not start: its volume is in use")
        if spec.volume_made and spec.volume not in self.disk:
            raise UnavailableError(GONE.format(spec.volume))

    def _volumes_in_use(self) -> set[str]:
        return {one.volume for one in self._running.values()} - {""}

    async def volumes(self) -> Mapping[str, Mapping[str, VolumeUse]]:
        """See `ports.Workload`."""
        return dict(self.disk)

    async def remove_volume(self, volume: str) -> None:
        """See `ports.Workload`."""
        if volume in self._volumes_in_use():
            raise UnavailableError(f"an instance has volume {volume}")
        self.disk.pop(volume, None)

    def accepted(self, instance: Instance) -> int | None:
        """See `ports.Workload`: as many in a second as it is said to since it began."""
        one = self.find(instance)
        if one is None:
            return None
        rate = self.rates.get(instance.allocation, 0.0)
        return int(rate * (self.clock.monotonic() - one.started_at))

    def arrived(self, instance: Instance) -> int | None:
        """See `ports.Workload`; datagrams are not imagined."""
        return self.accepted(instance)

    def limits(self) -> str:
        """See `ports.Workload`."""
        return "not enforced: instances are imagined"

    # ---- what the world does ---------------------------------------------------------------

    async def crash(self, allocation: str, how: str = "exited with status 1") -> None:
        """Let an instance end by itself."""
        await self._end(self._running[allocation], how)

    def hang(self, allocation: str) -> None:
        """Let an instance answer nothing any more."""
        self._running[allocation].hung = True

    def recover(self, allocation: str) -> None:
        """Let a hung instance answer again."""
        self._running[allocation].hung = False

    def connect(self, allocation: str, connections: int) -> None:
        """Let an instance have so many connections from now on."""
        self._running[allocation].connections = connections

    async def power_off(self) -> None:
        """End everything, as when the machine loses power. Nobody hears of it."""
        for crash in self._crashes:
            crash.cancel()
        for one in tuple(self._running.values()):
            await self._end(one, "killed together with its init process")

    def outgoing(self, allocation: str) -> Outgoing | None:
        """Return what an instance has been given to speak with the internet."""
        return self._running[allocation].outgoing

    def names(self, allocation: str) -> tuple[str, ...]:
        """Return the lines for services in an instance's hosts file."""
        return self._running[allocation].names

    def ports(self, allocation: str) -> PortRules | None:
        """Return on which ports an instance answers."""
        return self._running[allocation].ports

    def flush_ports(self, allocation: str) -> None:
        """Take its table away, as who loads the rules of a machine anew does."""
        self._running[allocation].ports = None

    def ran(self, allocation: str) -> list[tuple[str, ...]]:
        """Return the commands that were run inside an instance, oldest first."""
        return self._running[allocation].ran

    def signals(self, allocation: str) -> list[str]:
        """Return the signals that an instance was sent, oldest first."""
        return self._running[allocation].signals

    def live(self, allocation: str) -> Mapping[str, str]:
        """Return the files of an instance that change while it runs."""
        return dict(self._running[allocation].live)

    def find(self, instance: Instance) -> "MemoryInstance | None":
        """Return what runs as exactly this instance."""
        one = self._running.get(instance.allocation)
        return one if one is not None and one.instance == instance else None

    async def _end_later(self, one: MemoryInstance, after_ms: int, how: str) -> None:
        await self.clock.sleep(after_ms / 1000)
        await self._end(one, how)

    async def _end(self, one: MemoryInstance, how: str) -> None:
        if self.find(one.instance) is not one:
            return
        del self._running[one.instance.allocation]
        one.how = self._last_words[one.instance.allocation] = how
        # As the kernel does: the veth goes with the instance, and its routes with the veth.
        await self._network.detach_instance(one.instance.device)
        one.ended.set()


def _values_of(spec: InstanceSpec) -> frozenset[tuple[str, int]]:
    signalled = (each for each in spec.secrets if each.use.on_change.signal)
    return frozenset((each.use.name, each.version) for each in signalled)


class MemoryProber:
    """`ports.Prober` for the instances of a `MemoryWorkload`."""

    def __init__(self, workload: MemoryWorkload) -> None:
        """Ask instances of this machine."""
        self._workload = workload

    async def probe(
        self, instance: Instance, probe: Probe, addresses: Sequence[Address]
    ) -> ProbeAnswer:
        """See `ports.Prober`."""
        one = self._workload.find(instance)
        if one is None or not (addresses or probe.kind is ProbeKind.EXEC):
            # Of no address that was asked something is wrong: so it is with the real one, too.
            return ProbeAnswer(failure="" if one else "cannot ask the instance: it is gone")
        asked = probe.path
        if probe.kind is ProbeKind.EXEC:
            asked = probe.command[0]
            one.ran.append(probe.command)
        where = f"{probe.kind} {', '.join(map(str, addresses))} port {probe.port}"
        if one.hung:
            await self._workload.clock.sleep(probe.timeout_ms / 1000)
            return ProbeAnswer(failure=f"{where}: no answer within {probe.timeout_ms} ms")
        age_ms = (self._workload.clock.monotonic() - one.started_at) * 1000
        if age_ms < one.behaviour.healthy_after_ms:
            return ProbeAnswer(failure=f"{where}: Connection refused")
        if {instance.allocation, f"{instance.allocation} {asked}"} & self._workload.unwell:
            return ProbeAnswer(failure=f"{where}: {asked} answers 503", unwell=True)
        await self._workload.clock.sleep(one.behaviour.answer_ms / 1000)
        here = self._workload.find(instance) is not None
        if here and probe.path not in one.behaviour.fails:
            return ProbeAnswer(epoch=self._workload.epochs.get(instance.allocation))
        how = f"{probe.path} answers 404" if here else "Connection reset by peer"
        return ProbeAnswer(failure=f"{where}: {how}", unwell=here)

    async def connections(self, instance: Instance, addresses: Sequence[Address]) -> int:
        """See `ports.Prober`."""
        one = self._workload.find(instance)
        if one is None:
            return CONNECTIONS_UNKNOWN
        return one.connections if addresses else 0


class MemoryAsker:
    """`ports.Asker` of services that answer as they are told."""

    def __init__(self, clock: Clock) -> None:
        """Every service answers, after 3 ms."""
        self._clock = clock
        self.asked: list[Address] = []
        self.answers: dict[Address, ProbeAnswer | UnavailableError] = {}
        """By address: what it answers, or why it cannot be asked from here."""
        self.answer_ms = 3

    async def ask(self, address: Address, probe: Probe) -> ProbeAnswer:
        """See `ports.Asker`."""
        self.asked.append(address)
        await self._clock.sleep(min(self.answer_ms, probe.timeout_ms) / 1000)
        answer = self.answers.get(address, ProbeAnswer())
        if isinstance(answer, UnavailableError):
            raise answer
        return answer
