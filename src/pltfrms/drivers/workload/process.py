"""Instances are processes or containers of the machine, in namespaces of their own.

Each has its own net, pid, mnt, uts and ipc namespaces. Its pid 1 is `instance_init.py`, which
mounts the image of a container, has crun start it, and needs nobody: when the agent ends,
instances go on; when an instance ends while there is no agent, the kernel removes its veth and
the routes through it.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import structlog

from pltfrms.drivers.descriptors import readable
from pltfrms.drivers.kernel.ports import Network
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.sealing import NodeKey
from pltfrms.drivers.tool import run_tool
from pltfrms.drivers.workload.disks.volumes import LOCK, Volumes
from pltfrms.drivers.workload.images.fetched import Image, Images
from pltfrms.drivers.workload.images.oci import BOX, Binds, box_of
from pltfrms.drivers.workload.instance import instance_mounts
from pltfrms.drivers.workload.instance.found import init_environment, init_words
from pltfrms.drivers.workload.instance.hosts import HostsFiles
from pltfrms.drivers.workload.instance.init import Init
from pltfrms.drivers.workload.instance.instance_files import (
    KEPT_LOGS,
    InstanceFiles,
    fingerprint_of,
)
from pltfrms.drivers.workload.instance.ip_commands import ip_commands, ways_out
from pltfrms.drivers.workload.instance.limits import CgroupLimits
from pltfrms.drivers.workload.instance.port_filters import PortFilters
from pltfrms.drivers.workload.instance.records import (
    Record,
    Records,
    adopted_record,
    start_ticks,
)
from pltfrms.drivers.workload.instance.renewal import renewed
from pltfrms.drivers.workload.instance.secrets import credentials, opened
from pltfrms.drivers.workload.instance.wishes import Box, InitWishes
from pltfrms.drivers.workload.measuring.hogs import Hogs
from pltfrms.drivers.workload.measuring.usage import accepted_of, arrived_of, cpu_seconds_of
from pltfrms.drivers.workload.ports import RecordReport, VolumeUse, kept_on
from pltfrms.errors import ConflictError, UnavailableError
from pltfrms.model.running.machine import Instance, InstanceSpec
from pltfrms.model.services.container import Adopted, Container

_START_TIMEOUT_SECONDS = 10
_LOOK_SECONDS: Final = 1.0
"""How often it is looked whether there is still a way to what others start."""
LINGER_SECONDS: Final = 0.3
"""How long the network of an instance that ended outlives it. To remove a device the kernel
holds the lock of all routing for 10-30 ms, just when everybody is to hear of the end."""
_KILLED: Final = (f"killed by signal {signal.SIGKILL:d}", "killed together")
"""How one ends that the kernel ends for want of memory. Nothing else is for that, although some
other process of it may have been, long before."""
_MOUNTS: Final = str(Path(instance_mounts.__file__))
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_log = structlog.get_logger()


class ProcessRuntime:
    """`ports.Workload` with processes and containers."""

    def __init__(
        self,
        directories: Directories,
        network: Network,
        *,
        cgroup_root: Path = Path("/sys/fs/cgroup"),
        log_bytes: int = 10 * 1024 * 1024,
        keep_seconds: int = 86_400,
        keep_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        """Prepare limits.

        Files of ended instances stay for `keep_seconds`, and for less if their logs have more
        than `keep_bytes` in all.
        """
        self._runtime = directories.runtime
        self._records = Records(directories.runtime)
        self._files = InstanceFiles(directories)
        self._network = network
        self._limits = CgroupLimits(cgroup_root, directories.state)
        self._images = Images(directories)
        self._hosts = HostsFiles(directories)
        self._volumes = Volumes(directories.state)
        self._ports = PortFilters(directories)
        self._key = NodeKey(directories.state)
        self._log_bytes = log_bytes
        self._keep_seconds = keep_seconds
        self._keep_bytes = keep_bytes
        self._hogs = Hogs(self._files)
        self._lingering: set[asyncio.Task[None]] = set()

    async def running(self) -> Mapping[str, Instance]:
        """See `ports.Workload`."""
        found: dict[str, Instance] = {}
        for record in self._records.every():
            if record.alive:
                found[record.allocation] = record.instance
            else:
                how = self._how_it_ended(record.allocation)
                _log.info("instance_ended_unseen", allocation=record.allocation, how=how)
                try:
                    await self._clean_up(record)
                except UnavailableError as error:  # it is tried again, and keeps up nobody else
                    _log.warning("instance_left", allocation=record.allocation, why=str(error))
        return found

    async def start(self, spec: InstanceSpec) -> Instance:
        """See `ports.Workload`. Returns when the command runs: after about 50 ms.

        Raises:
            ConflictError: the allocation runs already, from another spec.
            UsageError: a file of the spec would be outside its directory, or a secret cannot
                be opened.
            UnavailableError: it did not start; says why. Nothing of it is left.
        """
        self._records.check(spec.allocation)
        present = (await self.running()).get(spec.allocation)
        if present is not None:
            if present.fingerprint == fingerprint_of(spec):
                return present
            raise ConflictError(f"{spec.allocation} runs from an older spec: stop it first")
        if spec.adopted is not None:
            return await self._adopt(spec, spec.adopted)
        told, kept = opened(spec, self._key, self._files.directory(spec.allocation))
        wishes = _wishes(told, self._files, self._hosts, self._log_bytes)
        wishes["secrets"] = kept
        volumes = self._prepare_volumes(spec, wishes)
        if spec.container is not None:
            wishes["box"] = await self._box(
                told, spec.container, volumes, kept=kept is not None
            )
            # Its runtime acts for the machine: what the container is told would lead it astray.
            wishes["environment"] = {"PATH": _PATH}
        await asyncio.to_thread(self._files.rotate_log, spec.allocation, self._log_bytes)
        words = init_words(spec, fingerprint_of(spec), self._runtime)
        init = Init(words, init_environment(spec), self._files.open_log(spec.allocation))
        try:
            async with asyncio.timeout(_START_TIMEOUT_SECONDS):
                return await self._start(spec, wishes, init)
        except TimeoutError as error:
            why = f"it took longer than {_START_TIMEOUT_SECONDS} s"
            raise UnavailableError(f"{spec.allocation} did not start: {why}") from error
        except (UnavailableError, OSError) as error:
            raise UnavailableError(f"{spec.allocation} did not start: {error}") from error
        finally:
            if not init.started:
                await self._undo_start(spec, init)
            init.close()

    def know(self, names: Sequence[str]) -> None:
        """See `ports.Workload`."""
        self._hosts.know(names)

    async def tell(self) -> None:
        """See `ports.Workload`. OSError: a file cannot be changed, such as for want of room."""
        await asyncio.to_thread(self._hosts.tell)

    async def fetch(self, spec: InstanceSpec) -> None:
        """See `ports.Workload`."""
        if spec.container is not None:
            await self._image(spec, spec.container)

    def doing(self, spec: InstanceSpec) -> str:
        """See `ports.Workload`."""
        return self._images.doing(spec.container.image) if spec.container else ""

    async def stop(self, instance: Instance, grace_ms: int) -> str:
        """See `ports.Workload`. Stopping what does not run any more is not an error.

        Raises:
            UnavailableError: it is not known whether it runs.
        """
        record = self._records.recall(instance)
        if record is None:
            self._records.check(instance.allocation)
            return ""
        if record.is_adopted:
            await self._clean_up(record)
            return ""
        how = ""
        with contextlib.suppress(ProcessLookupError):
            pidfd = record.open()
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
                async with asyncio.timeout(grace_ms / 1000):
                    await readable(pidfd)
            except TimeoutError:
                how = kept_on(grace_ms)
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                await readable(pidfd)
            finally:
                os.close(pidfd)
        await self._clean_up(record)
        return how

    async def renumber(self, instance: Instance, spec: InstanceSpec) -> None:
        """See `ports.Workload`. What it had before stays, and nothing is sent from it.

        Raises:
            UnavailableError: it does not run, or the kernel refuses.
        """
        record = self._records.recall(instance)
        if record is None or not record.alive:
            raise UnavailableError(f"{instance.allocation} does not run")
        lines = "".join(f"{line}\n" for line in ways_out(spec, "replace"))
        where = f"--net=/proc/{record.pid}/ns/net"
        await run_tool("nsenter", where, "ip", "-batch", "-", text=lines)

    async def answer_on(self, instance: Instance, spec: InstanceSpec) -> None:
        """See `ports.Workload`. What others start on this machine itself is left alone.

        Raises:
            UnavailableError: it does not run, or nft is not there or refuses.
        """
        if spec.adopted is not None and not spec.elsewhere:
            return
        record = self._records.recall(instance)
        if record is None or not record.alive:
            raise UnavailableError(f"{instance.allocation} does not run")
        if spec.elsewhere:
            await self._ports.lead(spec)
        else:
            await self._ports.follow(spec, record.pid)

    async def renew_secrets(self, instance: Instance, spec: InstanceSpec) -> bool:
        """See `ports.Workload`.

        Raises:
            UsageError: a value cannot be opened.
            UnavailableError: it does not run, or the kernel refuses.
        """
        record = self._records.recall(instance)
        if record is None or not record.alive:
            raise UnavailableError(f"{instance.allocation} does not run")
        files = self._files.directory(spec.allocation)
        return await renewed(record, spec, self._key, files)

    async def rewrite(self, spec: InstanceSpec) -> bool:
        """See `ports.Workload`. UsageError: a file would be outside its directory."""
        return await asyncio.to_thread(self._files.rewrite, spec)

    async def signal(self, instance: Instance, name: str) -> None:
        """See `ports.Workload`. Its init passes it on to the command."""
        record = self._records.recall(instance)
        if record is None or record.is_adopted:
            return
        with contextlib.suppress(ProcessLookupError):
            pidfd = record.open()
            try:
                signal.pidfd_send_signal(pidfd, signal.Signals[f"SIG{name}"])
            finally:
                os.close(pidfd)

    async def refused(self, instance: Instance) -> Mapping[str, int]:
        """See `ports.Workload`. UnavailableError: it cannot be known now."""
        record = self._records.recall(instance)
        if record is not None and record.is_adopted:
            return {}
        try:
            return await self._ports.refused(instance.allocation, instance.pid)
        except UnavailableError:
            if record is not None and record.alive:
                raise
            return {}  # it has ended

    async def wait(self, instance: Instance) -> str:
        """See `ports.Workload`. What the instance leaves is removed LINGER_SECONDS later.

        Raises:
            UnavailableError: it is not known whether it runs.
        """
        record = self._records.recall(instance)
        if record is None:
            self._records.check(instance.allocation)
        how = ""
        if record is not None and record.is_adopted:
            while record.alive:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(_LOOK_SECONDS)
            await self._clean_up(record)
            return f"its device {record.device} is gone"
        if record is not None:
            with ExitStack() as held:
                with contextlib.suppress(ProcessLookupError):
                    pidfd = record.open()
                    held.callback(os.close, pidfd)
                    with contextlib.suppress(OSError):
                        held.callback(os.close, _open_namespace(record))
                    await readable(pidfd)
                how = self._how_it_ended(instance.allocation)
                task = asyncio.ensure_future(self._linger(record, held.pop_all()))
            self._lingering.add(task)
            task.add_done_callback(self._lingering.discard)
        return how or self._files.how_it_ended(instance.allocation)

    def _how_it_ended(self, allocation: str) -> str:
        """Return the sentence of the last end, before what knows more is removed."""
        how = self._files.how_it_ended(allocation)
        why = self._limits.want_of_memory(allocation) if how.startswith(_KILLED) else ""
        if why:
            how = f"killed by the kernel: {why}"
            self._files.exit_file(allocation).write_text(how)
        return how

    async def rotate_logs(self, images: AbstractSet[str] | None = None) -> None:
        """See `ports.Workload`. Also removes files of instances that ended long ago.

        What an instance says is bounded by its own init; here it is for those that a version
        of us without that has started.
        """
        found = await self.running()
        running = frozenset(found)
        await asyncio.to_thread(self._keep_house, running)
        await asyncio.to_thread(self._hogs.look, found)
        if images is not None:
            await self._images.remove_unused(images, [each.pid for each in found.values()])

    def _keep_house(self, running: frozenset[str]) -> None:
        for allocation in running:
            self._files.rotate_log(allocation, self._log_bytes)
        before = time.time() - self._keep_seconds
        self._files.remove_leftovers(running, before, self._keep_bytes)

    def records(self) -> RecordReport:
        """See `ports.Workload`."""
        return self._records.report()

    def cpu_seconds(self, instance: Instance) -> float | None:
        """See `ports.Workload`."""
        counted = self._limits.cpu_seconds(instance.allocation)
        return cpu_seconds_of(instance.pid) if counted is None else counted

    def io_free(self, instance: Instance) -> str:
        """See `ports.Workload`."""
        return self._limits.io_free(instance.allocation)

    def hogs(self) -> Mapping[str, str]:
        """See `ports.Workload`."""
        return self._hogs.named

    async def volumes(self) -> Mapping[str, Mapping[str, VolumeUse]]:
        """See `ports.Workload`."""
        return await asyncio.to_thread(self._volumes.uses)

    async def remove_volume(self, volume: str) -> None:
        """See `ports.Workload`.

        Raises:
            UnavailableError: an instance has it, or it cannot be deleted.
        """
        await asyncio.to_thread(self._volumes.remove, volume)

    def accepted(self, instance: Instance) -> int | None:
        """See `ports.Workload`."""
        return accepted_of(instance.pid)

    def arrived(self, instance: Instance) -> int | None:
        """See `ports.Workload`."""
        return arrived_of(instance.pid)

    def limits(self) -> str:
        """See `ports.Workload`."""
        return self._limits.sentence()

    async def _adopt(self, spec: InstanceSpec, adopted: Adopted) -> Instance:
        """Put the addresses of what others start on this machine."""
        fingerprint = fingerprint_of(spec)
        record = adopted_record(spec.allocation, spec.device, fingerprint, adopted.unit)
        known = False
        try:
            await self._network.attach_here(spec.device, spec.service_addresses)
            if spec.elsewhere:
                await self._ports.lead(spec)
            self._records.remember(record)
            known = True
        except (UnavailableError, OSError) as error:
            raise UnavailableError(f"{spec.allocation} is not adopted: {error}") from error
        finally:
            if not known:  # also where we are ended: nobody would find its addresses again
                await self._network.detach_instance(spec.device)
                await self._ports.end(spec.allocation)
        _log.info("instance_adopted", allocation=spec.allocation, unit=adopted.unit)
        return record.instance

    def _prepare_volumes(self, spec: InstanceSpec, wishes: InitWishes) -> dict[str, str]:
        """Return its volumes by where it sees them; a process is to mount them itself."""
        wanted = spec.storage.volumes if spec.storage else ()
        if not wanted:
            return {}
        if not spec.volume:
            raise UnavailableError(f"{spec.allocation} did not start: it was given no volume")
        found = self._volumes.prepare(spec.volume, wanted, made=spec.volume_made)
        wishes["lock"] = str(self._volumes.place(spec.volume) / LOCK)
        if spec.container is None:
            pairs = (word for path, source in found.items() for word in (source, path))
            wishes["mounts"] = [sys.executable, "-I", "-S", _MOUNTS, *pairs]
        return found

    async def _image(self, spec: InstanceSpec, container: Container) -> Image:
        name = container.image
        return await self._images.get(name, lambda: credentials(spec, self._key, name))

    async def _box(
        self,
        spec: InstanceSpec,
        container: Container,
        volumes: Mapping[str, str],
        *,
        kept: bool,
    ) -> Box:
        try:
            image = await self._image(spec, container)
            place = self._runtime / BOX
            place.mkdir(mode=0o711, parents=True, exist_ok=True)
            files = self._files.directory(spec.allocation)
            hosts = self._hosts.path(spec.allocation)
            its = Binds(files=files, hosts=hosts, volumes=volumes, secrets=kept)
            return box_of(spec, container, image, place, its)
        except (UnavailableError, OSError) as error:
            raise UnavailableError(f"{spec.allocation} did not start: {error}") from error

    async def _start(self, spec: InstanceSpec, wishes: InitWishes, init: Init) -> Instance:
        pid = init.meet(int(await init.hear("pid")))
        self._hosts.write(spec)
        why = await self._ports.begin(spec, pid)
        if why:
            _log.warning("ports_not_filtered", allocation=spec.allocation, why=why)
        await init.say(json.dumps(wishes))
        record = Record(
            allocation=spec.allocation,
            pid=pid,
            start_ticks=start_ticks(pid) or 0,
            device=spec.device,
            fingerprint=fingerprint_of(spec),
            stop_grace_ms=spec.stop_grace_ms,
        )
        self._limits.confine(spec, pid)
        await self._network.attach_instance(spec.device, pid)
        self._records.remember(record)
        await init.say("go")
        await init.hear("started")
        init.started = True
        _log.info("instance_started", allocation=spec.allocation, pid=pid)
        return record.instance

    async def _undo_start(self, spec: InstanceSpec, init: Init) -> None:
        await init.kill()
        await self._network.detach_instance(spec.device)
        self._limits.release(spec.allocation)
        self._hosts.forget(spec.allocation)
        self._ports.forget(spec.allocation)
        self._records.forget_allocation(spec.allocation)

    async def _linger(self, record: Record, held: ExitStack) -> None:
        with held:
            await asyncio.sleep(LINGER_SECONDS)
            await self._clean_up(record)

    async def _clean_up(self, record: Record) -> None:
        """Remove what an ended instance leaves, once: `stop` and `wait` both come here."""
        if record.is_adopted:
            await self._ports.end(record.allocation)
        if not self._records.forget(record):
            return
        self._limits.release(record.allocation)
        self._hosts.forget(record.allocation)
        self._ports.forget(record.allocation)
        # The kernel does this too, a little later. Not if the name is somebody else's by now.
        used = {each.device for each in self._records.every() if each.alive}
        if record.device and record.device not in used:
            await self._network.detach_instance(record.device)


def _open_namespace(record: Record) -> int:
    """Return what keeps the network namespace of a process for longer than the process."""
    return os.open(f"/proc/{record.pid}/ns/net", os.O_RDONLY)


def _wishes(
    spec: InstanceSpec, files: InstanceFiles, hosts: HostsFiles, log_bytes: int
) -> InitWishes:
    directory = files.prepare(spec)
    return {
        "allocation": spec.allocation,
        "process": list(spec.process),
        "environment": {"PATH": _PATH, "HOME": str(directory)} | dict(spec.environment),
        "directory": str(directory),
        "exit_file": str(files.exit_file(spec.allocation)),
        "log_file": str(files.log_file(spec.allocation)),
        "log_bytes": log_bytes,
        "older_logs": KEPT_LOGS,
        "ip_commands": list(ip_commands(spec)),
        "hosts": str(hosts.path(spec.allocation)),
        "box": None,
        "lock": "",
        "mounts": [],
        "secrets": None,
        "lifetime_ms": spec.lifetime_ms,
        "grace_ms": spec.stop_grace_ms,
    }
