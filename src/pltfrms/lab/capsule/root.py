"""Process 1 of the capsule: it forks machines, relays and the lab's daemon, and reaps.

One thread and no event loop, because it is what everything else is forked from. All that
machines will need is imported before the first of them, so they share its memory. When this
process ends, however it ends, the kernel ends every process in the capsule and with them its
namespaces, mounts and interfaces.
"""

import gc
import importlib
import os
import select
from collections.abc import Callable
from pathlib import Path

from pltfrms import codec
from pltfrms.codec import read
from pltfrms.errors import InvariantError
from pltfrms.lab.capsule.daemon import run_daemon
from pltfrms.lab.groups import group_of, open_tree
from pltfrms.lab.machines.init import run_machine
from pltfrms.lab.machines.systemd import run_systemd
from pltfrms.lab.network.relay import run_relay
from pltfrms.lab.parts import LabParts, MachineParts
from pltfrms.lab.processes.channel import Channel, Message
from pltfrms.lab.processes.namespaces import (
    NEW_IPC,
    NEW_MOUNT,
    NEW_NET,
    NEW_PID,
    NEW_UTS,
    die_with_parent,
    enter,
    keep_mounts_private,
    mount_kernel_views,
    mount_tmpfs,
    set_hostname,
    set_process_name,
    unshare,
)
from pltfrms.lab.processes.processes import (
    OWN_NICE,
    close_descriptors,
    fork,
    reap,
    run_before_others,
    share_processor,
    watch_children,
)
from pltfrms.lab.rundir import PARTS
from pltfrms.model.messages.api import Heartbeat, HeartbeatReply, SnapshotView
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.plan import Target
from pltfrms.planner.balancing import rendezvous
from pltfrms.render import text

DISKS = "disks"
"""Directory in the lab's run directory; a tmpfs that only the capsule sees."""


def run_root(parts: LabParts, run_directory: Path, report: int) -> None:
    """Be process 1 of a capsule; returns when the lab's daemon has ended.

    `report` is a pipe to the keeper, which the daemon will use.
    """
    die_with_parent()
    share_processor(OWN_NICE, alone=True)  # everybody waits for it
    unshare(NEW_MOUNT | NEW_NET | NEW_IPC | NEW_UTS)
    set_hostname(f"lab-{run_directory.name}"[:63])
    set_process_name("lab-root")
    keep_mounts_private()
    disks = run_directory / DISKS
    disks.mkdir()
    mount_tmpfs(str(disks))
    groups = open_tree()
    mount_kernel_views()
    _quiet_wire_room()
    requests, daemon_requests = Channel.pair()
    events, daemon_events = Channel.pair()
    daemon_requests.other = "the lab's root process"
    wakeup = watch_children()
    daemon = fork(lambda: _daemon(parts, run_directory, report, daemon_requests, daemon_events))
    for inherited in (daemon_requests, daemon_events):
        inherited.close()
    os.close(report)
    _preload(parts)
    _Root(parts, run_directory, wakeup, daemon, groups).run(requests, events)


def _daemon(
    parts: LabParts, run_directory: Path, report: int, requests: Channel, events: Channel
) -> None:
    close_descriptors(keep=(report, requests.fileno(), events.fileno()))
    set_process_name("lab-daemon")
    run_before_others()  # a fault happens when it is asked for
    run_daemon(parts, run_directory, report, requests, events)


def _quiet_wire_room() -> None:
    # New interfaces here get no IPv6 at all: the wire room must not be anybody's neighbour.
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")


def _preload(parts: LabParts) -> None:
    entries = {unit.entry for machine in parts.machines for unit in machine.units}
    for entry in sorted(entries - {""}):
        importlib.import_module(entry.partition(":")[0])
    # What each of our daemons would otherwise do again, each for itself.
    codec.prepare(Heartbeat, HeartbeatReply, Platform, Target, SnapshotView)
    text.prepare()
    rendezvous.prepare()
    gc.collect()
    gc.freeze()


class _Root:
    def __init__(
        self, parts: LabParts, run_directory: Path, wakeup: int, daemon: int, groups: int
    ) -> None:
        self._parts = parts
        self._run_directory = run_directory
        self._wakeup = wakeup
        self._daemon = daemon
        self._groups = groups
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def run(self, requests: Channel, events: Channel) -> None:
        while True:
            readable, _, _ = select.select((requests.fileno(), self._wakeup), (), ())
            if self._wakeup in readable:
                ended = reap(self._wakeup)
                if self._daemon in ended:
                    return
                for pid in ended:
                    events.send({"ended": pid})
            if requests.fileno() in readable:
                requests.serve(self._handle)

    def _handle(self, question: Message, descriptors: list[int]) -> Message:
        if question["do"] == "rewire":  # longer than a message may be
            self._parts = read(LabParts, (self._run_directory / PARTS).read_bytes())
            return {}
        channel = Channel.from_descriptor(descriptors[0])
        match question["do"]:
            case "machine":
                machine = self._parts.machine(question["name"])
                disk = self._run_directory / DISKS / machine.name
                pid = self._fork_first(lambda: self._machine(machine, disk, channel))
            case "relay":
                pid = fork(lambda: run_relay(channel))
            case unknown:
                raise InvariantError(f"the root cannot {unknown}")
        channel.close()
        return {"pid": pid}

    def _machine(self, machine: MachineParts, disk: Path, channel: Channel) -> None:
        if machine.tree:
            group = group_of(self._run_directory.name, machine.name)
            run_systemd(machine, disk, self._groups, group, channel)
        else:
            run_machine(machine, disk, channel)

    def _fork_first(self, body: Callable[[], object]) -> int:
        """Fork the first process of a new pid namespace."""
        unshare(NEW_PID)
        try:
            return fork(body)
        finally:
            enter(self._own_pids, NEW_PID)
