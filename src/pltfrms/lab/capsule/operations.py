"""Everything that can be done to a running lab: faults, healing, power.

Faults are a list; after every change of it, ports, units and machines are made as the list
says. Only the end of processes is an act of its own.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Collection, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from pltfrms.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from pltfrms.lab.capsule.faults import (
    POWERED_KINDS,
    Fault,
    FaultTarget,
    FaultWord,
    TargetKind,
    check_kind,
    decide_conditions,
    decide_grips,
    decide_hung,
    find_target,
    parse_kind,
    sentence_of,
)
from pltfrms.lab.capsule.rewiring import Rewiring, as_far_as_done, decide_rewiring
from pltfrms.lab.machines.instances import FoundInstance, find_instances, pids_of
from pltfrms.lab.machines.machines import Machines
from pltfrms.lab.network.impairment import PortCondition
from pltfrms.lab.network.links import run_batch
from pltfrms.lab.network.shaping import choose_shaper
from pltfrms.lab.network.wires import WireRoom
from pltfrms.lab.parts import LabParts, PortKey, Wiring
from pltfrms.lab.processes.channel import Channel, GoneError
from pltfrms.lab.protocol import Entrance, FaultInfo, MachineInfo

_REPEAT_SECONDS = 0.02
"""How often we look whether an instance that is to stay dead has come back."""
_DEATH_SECONDS = 10.0
_EVERYBODY = -1
"""As a pid: all processes of a machine but the first."""
_GOODBYE_SECONDS = 0.2
"""In which the daemons of a machine that is switched off can close their sessions."""
_POLL_SECONDS = 0.002

_log = structlog.get_logger()


@dataclass(slots=True)
class _Acting:
    """A fault that acts, with what its end needs."""

    fault: Fault
    since: float
    ends_at: float | None
    """By the clock of the event loop."""
    stopped: tuple[tuple[str, FoundInstance], ...] = ()
    """Instances that were stopped, with their machines."""

    @property
    def powers_off(self) -> bool:
        fault = self.fault
        return fault.kind.word is FaultWord.KILL and fault.target.kind in POWERED_KINDS


class LabOperations:
    """A running lab. All methods run in the daemon's event loop, one at a time."""

    def __init__(self, parts: LabParts, root: Channel) -> None:
        """Make the wire room; no machine has power yet."""
        self._parts = self._reached = parts
        """How it is to be, and how it is: another one after a change that failed in between."""
        self._root = root
        self._machines = Machines(parts, root)
        self._room = WireRoom(parts.wiring, choose_shaper(_relay_starter(root)))
        self._acting: list[_Acting] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    # ---- power -----------------------------------------------------------------------------

    def start(self, on_progress: Callable[[str], None]) -> None:
        """Give every machine power, wire it and boot it.

        Raises:
            UnavailableError: something does not come up.
        """
        names = [machine.name for machine in self._parts.machines]
        self._machines.power_on(names)
        on_progress(f"{len(names)} machines have power")
        self._wire(names)
        on_progress(f"{len(self._parts.wiring.segments)} segments are wired")
        self._machines.boot(names)
        booting = any(machine.tree for machine in self._parts.machines)
        on_progress("all machines " + ("boot" if booting else "run their daemons"))

    async def boot(self, text: str) -> tuple[str, ...]:
        """Give the machines of a target power, anew if they have it; ends faults on them.

        Raises:
            NotFoundError: no such target.
            UsageError: the target has no power switch.
            UnavailableError: a machine does not come up.
        """
        target = find_target(self._parts, text)
        if target.kind not in POWERED_KINDS:
            raise UsageError(f"{target.name} cannot be booted; machines and datacenters can")
        async with self._turn:
            started = time.perf_counter()
            cycled = sorted(set(target.machines) & self._machines.pids.keys())
            self._cut_power(cycled)
            await self._await_death(target.machines)
            self._acting = [one for one in self._acting if not _ends_with_boot(one, target)]
            self._machines.power_on(target.machines)
            self._wire(target.machines)
            self._machines.boot(target.machines)
            self._drop_past_power_cuts()
            self._settle()
            again = f", {len(cycled)} of them were running" if cycled else ""
            what = ", ".join(target.machines)
            return (f"booted {what}{again} ({_elapsed(started)})",)

    async def rewire(self, parts: LabParts) -> tuple[str, ...]:
        """Have these machines and wires from now on; who stays goes on.

        What could not be done is done when this is asked again, as often as that takes.

        Raises:
            ConflictError: a fault acts.
            UnavailableError: a machine does not come up, or cannot be changed.
        """
        async with self._turn:
            if self._acting:
                acting = ", ".join(one.fault.target.name for one in self._acting)
                raise ConflictError(
                    f"faults act ({acting}): heal them, and boot what has no power, first"
                )
            started = time.perf_counter()
            before = self._reached
            todo = decide_rewiring(before, parts)
            await self._take_out(parts, todo)
            plugged = {port.key for _, port in todo.plugged}  # before it failed, perhaps
            self._room.rewire(parts.wiring, todo.pulled | plugged)
            self._parts = parts
            self._reached = as_far_as_done(
                before, parts, {machine.name for machine in parts.machines}
            )
            self._machines.rewire(parts)
            self._root.ask({"do": "rewire"})
            failed = self._refit(todo)
            self._reached = as_far_as_done(before, parts, failed)
            self._settle()
            if failed:
                why = (f"{name}: {error}" for name, error in failed.items())
                raise UnavailableError("; ".join(why))
            return (f"{todo.sentence} ({_elapsed(started)})",)

    async def _take_out(self, parts: LabParts, todo: Rewiring) -> None:
        """Switch off who is not to be there, and who is to begin but has power: it failed."""
        staying = {machine.name for machine in parts.machines} - {*todo.new}
        going = [name for name in self._machines.pids if name not in staying]
        for name in going:
            with suppress(GoneError):
                self._machines.signal(name, [_EVERYBODY], signal.SIGTERM)
        await asyncio.sleep(_GOODBYE_SECONDS if going else 0)
        self._cut_power(going)
        left = {*todo.gone, *going}
        await self._await_death(left)
        for name in left:
            self._room.forget(name)

    def _refit(self, todo: Rewiring) -> dict[str, UnavailableError]:
        """Change who stays and start who is new; return who could not be changed, and why."""
        self._machines.power_on(todo.new)
        self._wire(todo.new)
        pids = self._machines.pids
        plugged = [pair for pair in todo.plugged if pair[1].machine in pids]
        self._room.plug(plugged, pids, self.conditions())
        failed = {}
        for name in (each for each in todo.refits if each in pids):
            try:
                self._machines.refit(name, todo.refits[name])
            except UnavailableError as error:
                failed[name] = error
        self._machines.boot(todo.new)
        return failed

    def _wire(self, names: Iterable[str]) -> None:
        wiring = self._parts.wiring
        ports = [pair for name in names for pair in wiring.ports_of(name)]
        self._room.plug(ports, self._machines.pids, self.conditions())

    def _cut_power(self, names: Collection[str]) -> None:
        # Wires first: a dying process must not say goodbye to its peers.
        self._apply_conditions(self._machines.off.union(names))
        for name in names:
            self._room.unplug(name)
            self._machines.power_off(name)

    async def _await_death(self, names: Iterable[str]) -> None:
        deadline = time.monotonic() + _DEATH_SECONDS
        while self._machines.dying(names):
            if time.monotonic() > deadline:
                raise UnavailableError("a machine without power still has processes")
            await asyncio.sleep(_POLL_SECONDS)

    # ---- faults ----------------------------------------------------------------------------

    async def fault(self, text: str, kind_text: str, for_ms: int | None) -> tuple[str, ...]:
        """Let a fault act, for a while or until healed.

        A fault replaces one of the same kind on the same target.

        Raises:
            NotFoundError: no such target, or the instance does not run.
            UsageError: no such kind, or it makes no sense for that target.
        """
        target, kind = find_target(self._parts, text), parse_kind(kind_text)
        check_kind(target, kind)
        if for_ms is not None and for_ms <= 0:
            raise UsageError("a fault must last longer than 0 ms")
        async with self._turn:
            ends_at = None if for_ms is None else _loop_time() + for_ms / 1000
            acting = _Acting(Fault(target, kind), time.time(), ends_at)
            started = time.perf_counter()
            done = self._act(acting)
            elapsed = _elapsed(started)
            if ends_at is not None:
                self._keep(self._end_later(acting, ends_at))
            until = f" for {for_ms} ms" if for_ms is not None else ""
            _log.info("fault", target=target.name, kind=str(kind), done=done, took=elapsed)
            return (f"{target.name}: {done}{until} ({elapsed})",)

    def _act(self, acting: _Acting) -> str:
        fault = acting.fault
        if fault.target.kind is TargetKind.INSTANCE:
            return self._act_on_instance(acting)
        if acting.powers_off:
            self._cut_power(fault.target.machines)
        self._add(acting)
        self._settle()
        return sentence_of(fault)

    def _act_on_instance(self, acting: _Acting) -> str:
        target = acting.fault.target
        found = self._instances(target)
        if not found:
            raise NotFoundError(f"{target.name} does not run; running: {self._running()}")
        names = ", ".join(f"{one.allocation} on {machine}" for machine, one in found)
        if acting.fault.kind.word is FaultWord.HANG:
            self._signal(found, signal.SIGSTOP)
            acting.stopped = found
            self._add(acting)
            return f"hung {names}"
        self._kill(found)
        if acting.ends_at is not None:
            self._add(acting)
            self._keep(self._keep_dead(acting))
        return f"killed {names}"

    def _add(self, acting: _Acting) -> None:
        fault = acting.fault
        self._acting = [
            one
            for one in self._acting
            if (one.fault.target, one.fault.kind.word) != (fault.target, fault.kind.word)
        ]
        self._acting.append(acting)

    async def heal(self, text: str | None) -> tuple[str, ...]:
        """End the faults of a target, or all; machines without power need `boot`.

        Raises:
            NotFoundError: no such target.
        """
        target = find_target(self._parts, text) if text else None
        async with self._turn:
            started = time.perf_counter()
            mine = [one for one in self._acting if target in {None, one.fault.target}]
            ending = [one for one in mine if not one.powers_off]
            self._end(ending)
            said = [f"{one.fault.target.name}: {one.fault.kind} has ended" for one in ending]
            said += [
                f"{one.fault.target.name} stays without power until booted"
                for one in mine
                if one.powers_off
            ]
            if not said:
                said = [f"no fault acts on {target.name}" if target else "no fault acts"]
            return (*said[:-1], f"{said[-1]} ({_elapsed(started)})")

    def _end(self, ending: list[_Acting]) -> None:
        self._acting = [one for one in self._acting if one not in ending]
        self._settle()
        for acting in ending:
            now = self._instances(acting.fault.target)
            # Only those that still are what was stopped: a pid may belong to another by now.
            self._signal([one for one in now if one in acting.stopped], signal.SIGCONT)

    async def _end_later(self, acting: _Acting, at: float) -> None:
        await asyncio.sleep(at - _loop_time())
        if acting not in self._acting:
            return
        target = acting.fault.target
        _log.info("fault ends", target=target.name, kind=str(acting.fault.kind))
        if acting.powers_off:
            await self.boot(target.name)
            return
        async with self._turn:
            self._end([acting])

    async def _keep_dead(self, acting: _Acting) -> None:
        while acting in self._acting:
            await asyncio.sleep(_REPEAT_SECONDS)
            if acting in self._acting:
                self._kill(self._instances(acting.fault.target))

    def _settle(self) -> None:
        """Make ports, units and machines as the acting faults say."""
        self._apply_conditions(self._machines.off)
        faults = [one.fault for one in self._acting]
        self._machines.settle(decide_grips(self._parts, faults), decide_hung(faults))
        self._sweep()

    def _sweep(self) -> None:
        rubbish = self._room.take_rubbish()
        if rubbish:
            self._keep(asyncio.to_thread(run_batch, rubbish))

    def _apply_conditions(self, off: Collection[str]) -> None:
        faults = [one.fault for one in self._acting]
        conditions = decide_conditions(self._parts.wiring, faults, off)
        for key, condition in conditions.items():
            if key[0] not in off:
                self._room.apply(key, condition)

    def _drop_past_power_cuts(self) -> None:
        off = self._machines.off
        self._acting = [
            one
            for one in self._acting
            if not one.powers_off or not off.isdisjoint(one.fault.target.machines)
        ]

    # ---- instances -------------------------------------------------------------------------

    def _instances(self, target: FaultTarget) -> tuple[tuple[str, FoundInstance], ...]:
        pids = self._machines.pids
        return tuple(
            (machine, instance)
            for machine in target.machines
            if machine in pids and target.allocation
            for instance in find_instances(pids[machine], target.allocation)
        )

    def _running(self) -> str:
        found = (
            instance.allocation
            for pid in self._machines.pids.values()
            for instance in find_instances(pid, "")
        )
        return ", ".join(sorted(found)) or "none"

    def _kill(self, found: Iterable[tuple[str, FoundInstance]]) -> None:
        for machine, instance in found:
            with suppress(GoneError):
                self._machines.signal(machine, [instance.pid], signal.SIGKILL)

    def _signal(self, found: Iterable[tuple[str, FoundInstance]], number: int) -> None:
        pids = self._machines.pids
        for machine, instance in found:
            with suppress(GoneError):
                self._machines.signal(machine, pids_of(pids[machine], instance), number)

    # ---- what there is ---------------------------------------------------------------------

    def conditions(self) -> dict[PortKey, PortCondition]:
        """Return how every port is to be now."""
        faults = [one.fault for one in self._acting]
        return decide_conditions(self._parts.wiring, faults, self._machines.off)

    def faults(self) -> tuple[FaultInfo, ...]:
        """Return the faults that act, oldest first."""
        now = _loop_time()
        return tuple(
            FaultInfo(
                target=one.fault.target.name,
                kind=str(one.fault.kind),
                since=one.since,
                remaining_ms=(
                    None if one.ends_at is None else max(0, round((one.ends_at - now) * 1000))
                ),
            )
            for one in self._acting
        )

    def machines(self) -> tuple[MachineInfo, ...]:
        """Return every machine, in the order of the specs."""
        pids, states = self._machines.pids, self._machines.unit_states()
        return tuple(
            MachineInfo(
                name=machine.name,
                role=machine.role,
                roles=machine.roles,
                datacenter=machine.datacenter,
                running=machine.name in pids,
                pid=pids.get(machine.name, 0),
                units=states.get(machine.name, {}),
            )
            for machine in self._parts.wiring.machines
        )

    @property
    def pids(self) -> dict[str, int]:
        """Process 1 of every powered machine, as the capsule counts."""
        return self._machines.pids

    @property
    def wiring(self) -> Wiring:
        """Which machines and segments there are."""
        return self._parts.wiring

    @property
    def room(self) -> WireRoom:
        """The wires."""
        return self._room

    def place(self, text: str) -> Entrance:
        """Return how to enter a machine (by name or as a target) or an instance.

        Raises:
            NotFoundError: no such thing, or it does not run.
        """
        known = {machine.name for machine in self._parts.wiring.machines}
        target = find_target(self._parts, f"machine/{text}" if text in known else text)
        pids = self._machines.pids
        if target.kind is TargetKind.INSTANCE:
            found = self._instances(target)
            if not found:
                raise NotFoundError(f"{target.name} does not run; running: {self._running()}")
            machine, instance = found[0]
            return Entrance(pids=(pids[machine], instance.pid))
        if target.kind is not TargetKind.MACHINE:
            raise NotFoundError(f"{text} is no machine and no instance: nothing to enter")
        (machine,) = target.machines
        if machine not in pids:
            raise NotFoundError(f"{machine} has no power; `boot {target.name}` starts it")
        return Entrance(pids=(pids[machine],))

    def capture_interface(self, text: str) -> str:
        """Return an interface of the wire room through which a segment's frames pass.

        Raises:
            NotFoundError: no such segment, or none of its machines has power.
        """
        target = find_target(self._parts, text)
        for segment in self._parts.wiring.segments:
            for port in segment.ports if segment.name == target.segment else ():
                near = self._room.near_end(port.key)
                if near and port.machine in self._machines.pids:
                    return near
        raise NotFoundError(f"{target.name} has no port with power to capture at")

    # ---- ends ------------------------------------------------------------------------------

    def ended(self, pid: int) -> None:
        """Note that a child of the root has ended."""
        if self._room.shaper.ended(pid):
            _log.warning("relay ended; another took over", pid=pid)
            return
        name = self._machines.ended(pid)
        if name:
            _log.info("machine has no processes any more", machine=name)
            self._room.forget(name)
            self._settle()

    def _keep(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _logged(work: Coroutine[object, object, None]) -> None:
    try:
        await work
    except (UnavailableError, OSError) as error:
        _log.error("a fault's end failed", error=str(error))


def _relay_starter(root: Channel) -> Callable[[Channel], int]:
    def start(end: Channel) -> int:
        return int(root.ask({"do": "relay"}, [end.fileno()])["pid"])

    return start


def _ends_with_boot(acting: _Acting, booted: FaultTarget) -> bool:
    """Whether a fault is one of the booted machines' own."""
    target = acting.fault.target
    own = {*target.machines, *(machine for machine, _ in target.units)}
    return target == booted or (bool(own) and own <= set(booted.machines))


def _elapsed(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.1f} ms"


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
