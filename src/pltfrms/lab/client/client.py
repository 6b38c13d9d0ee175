"""Start, find and use labs: what the command line and tests call."""

import json
import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import pltfrms
from pltfrms.codec import encode, read
from pltfrms.errors import (
    ConflictError,
    InvariantError,
    NotFoundError,
    UnavailableError,
    UsageError,
)
from pltfrms.lab.client.ending import end_lab
from pltfrms.lab.parts import LabParts
from pltfrms.lab.processes.patience import Patience
from pltfrms.lab.protocol import (
    SOCKET,
    Entrance,
    FaultInfo,
    LabReport,
    MachineInfo,
    raise_error,
    read_reply,
    request_line,
)
from pltfrms.lab.rundir import LabInfo, directory_of, read_labs, write_info, write_parts
from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Target
from pltfrms.model.services.service import Service

__all__ = [
    "FaultInfo",
    "LabClient",
    "LabInfo",
    "LabReport",
    "MachineInfo",
    "find_lab",
    "running_labs",
    "start_capsule",
    "start_lab",
]

LAB_VARIABLE = "PLTFRMS_LAB"
CONTROLLER_SOCKET = "run/pltfrms/controller.sock"
TARGET = "var/lib/pltfrms/target.json"
"""What an agent remembers of what its machine is to be."""
_TOOLS = {"ip": "iproute2", "tc": "iproute2", "nsenter": "util-linux"}
_PACKAGES = {
    **_TOOLS,
    "bird": "bird2",
    "etcd": "etcd-server",
    "/usr/lib/frr/zebra": "frr",
    "/usr/lib/frr/bfdd": "frr",
    "/usr/lib/frr/bgpd": "frr",
    "/usr/sbin/bgpd": "openbgpd",
}
"""Where programs come from, if not from a package of their name."""
_NAME_LENGTH = 40
"""The path of a socket must be short."""
_START_SECONDS = 60.0
"""Without a word from the lab that starts, on a quiet machine."""
_LOOK_SECONDS = 1.0
_ANSWER_SECONDS = 60.0
_INTO = ("--mount", "--uts", "--ipc", "--net", "--pid")
_T = TypeVar("_T")


def running_labs() -> tuple[LabInfo, ...]:
    """Return the labs of this machine by name; remove what dead ones left."""
    return tuple(read_labs())


def find_lab(name: str | None) -> "LabClient":
    """Return the lab of that name, else that of PLTFRMS_LAB, else the only one.

    Raises:
        NotFoundError: there is none, or none of that name.
        UsageError: there are several and none is named.
    """
    name = name or os.environ.get(LAB_VARIABLE)
    labs = {info.name: info for info in running_labs()}
    names = ", ".join(labs)
    if not labs:
        raise NotFoundError("no lab is running here; `pltfrms lab up DIRECTORY` starts one")
    if name is None and len(labs) > 1:
        raise UsageError(f"several labs are running ({names}): name one, or set {LAB_VARIABLE}")
    info = labs.get(name) if name else next(iter(labs.values()))
    if info is None:
        raise NotFoundError(f"no lab is called {name!r}; running: {names}")
    return LabClient(info)


def start_lab(
    directory: Path,
    name: str | None,
    on_progress: Callable[[str], None],
    started_by: str = "",
    trees: Mapping[str, str] = MappingProxyType({}),
) -> "LabClient":
    """Start the lab of `directory` (platform.yaml, lab.yaml); by default called as it is.

    Remembers `started_by`, see `LabInfo`. Returns when every machine runs its daemons; they
    have not converged yet. Machines of `trees` boot instead, and run nothing of ours.

    Raises:
        SpecError: a file is wrong.
        UsageError: not root, or a program is missing.
        ConflictError: a lab of that name is running.
        UnavailableError: something does not come up; nothing of it is left.
    """
    parts = _read_parts(directory, first=True, trees=trees)
    name = name or directory.resolve().name
    return start_capsule(name, str(directory.resolve()), parts, on_progress, started_by)


def _read_parts(
    directory: Path, *, first: bool, trees: Mapping[str, str] = MappingProxyType({})
) -> LabParts:
    # 0.2 s: who uses a lab does not start one.
    from pltfrms.lab.layout.assembly import make_parts  # noqa: PLC0415
    from pltfrms.specfile import load_lab, load_platform  # noqa: PLC0415

    platform_file = directory / "platform.yaml"
    platform = load_platform(platform_file)
    lab = load_lab(directory / "lab.yaml", platform)
    return make_parts(platform, lab, platform_file.read_text(), first=first, trees=trees)


def start_capsule(
    name: str,
    directory: str,
    parts: LabParts,
    on_progress: Callable[[str], None],
    started_by: str = "",
) -> "LabClient":
    """Start a lab of any parts; `directory` and `started_by` are only remembered.

    Raises:
        UsageError: not root, or a program is missing, or the name cannot be one.
        ConflictError: a lab of that name is running.
        UnavailableError: something does not come up; nothing of it is left.
    """
    check_name(name)
    _check_machine(parts)
    # An interpreter of its own: the capsule's processes are forks, and must not inherit our
    # threads, descriptors and modules.
    starter = subprocess.Popen(
        [sys.executable, "-m", "pltfrms.lab.capsule.keeper", name, directory, started_by],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
        env=_environment(),
    )
    with starter:
        _talk(starter, parts, on_progress)
    return find_lab(name)


def _talk(
    starter: subprocess.Popen[bytes], parts: LabParts, on_progress: Callable[[str], None]
) -> None:
    if starter.stdin is None or starter.stdout is None or starter.stderr is None:
        raise InvariantError("the keeper was started without pipes")
    ready = False
    try:
        with suppress(BrokenPipeError):
            starter.stdin.write(encode(parts) + b"\n")
            starter.stdin.flush()
        ready = _await_ready(starter.stdout.fileno(), on_progress)
        if ready:
            starter.stdin.write(b"\n")
    finally:
        # Without that byte this ends the capsule, and its end closes the other pipes.
        with suppress(BrokenPipeError):
            starter.stdin.close()
        starter.stdout.read()
        said = starter.stderr.read().decode(errors="replace").strip()
    if not ready:
        raise UnavailableError(f"the lab's keeper ended: {said or 'it did not say why'}")


class LabClient:
    """A running lab. Every method raises UnavailableError if its daemon does not answer."""

    def __init__(self, info: LabInfo) -> None:
        """Talk to the lab that `info` describes."""
        self.name = info.name
        self._info = info

    def info(self) -> LabInfo:
        """Return who the lab is."""
        return self._info

    def machines(self) -> tuple[MachineInfo, ...]:
        """Return every machine, in the order of the specs."""
        return self._ask(tuple[MachineInfo, ...], "machines")

    def fault(
        self, target: str, kind: str = "kill", for_ms: int | None = None
    ) -> tuple[str, ...]:
        """Let a fault act, and return sentences that say what was done.

        Targets: `instance/web/fra/1`, `node/N`, `edge/E`, `controller/C`, `machine/NAME`,
        `datacenter/fra`, `link/A--B`, `fabric/fra/a`, `lan/ixp1`, `daemon/MACHINE/UNIT`,
        `controllers`. Kinds: `kill`, `hang`, `cut` (no carrier), `silent` (carrier, but
        nothing passes), `loss=5%`, `delay=50ms` (more of it). With `for_ms` it ends by
        itself; an instance is then killed again whenever it comes back.

        Raises:
            NotFoundError: no such target; names those spelled alike.
            UsageError: that cannot happen to such a target; says what can.
        """
        return self._ask(_SENTENCES, "fault", target=target, kind=kind, for_ms=for_ms)

    def heal(self, target: str | None = None) -> tuple[str, ...]:
        """End the faults of a target, or all. Machines without power need `boot`.

        Raises:
            NotFoundError: no such target.
        """
        return self._ask(_SENTENCES, "heal", target=target)

    def boot(self, target: str) -> tuple[str, ...]:
        """Give a machine or datacenter power (anew if it has it) and end the faults on it.

        Raises:
            NotFoundError: no such target.
            UsageError: the target has no power switch.
        """
        return self._ask(_SENTENCES, "boot", target=target)

    def rewire(self, directory: Path) -> tuple[str, ...]:
        """Have the machines, wires and internet of another directory; return what was done.

        What leaves is shut down; what is new gets it, and begins with an empty
        disk unless it had that name before. Whatever stays goes on.

        Raises:
            SpecError: a file is wrong.
            ConflictError: a fault acts.
            UsageError: a program is missing, or machines boot systemd.
        """
        if self._info.packages:
            raise UsageError(
                f"machines of {self.name} have the package and disks of their own: nothing is "
                "rewired there; `lab down`, and `lab up` of the other directory"
            )
        parts = _read_parts(directory, first=False)
        return self.rewire_to(parts, str(directory.resolve()))

    def rewire_to(self, parts: LabParts, directory: str) -> tuple[str, ...]:
        """Have these parts, whatever they are; see `rewire`. `directory` is remembered."""
        _check_machine(parts)
        write_parts(self.name, parts)
        done = self._ask(_SENTENCES, "rewire")
        self._info = replace(self._info, directory=directory, machines=len(parts.machines))
        write_info(self._info)
        return done

    def faults(self) -> tuple[FaultInfo, ...]:
        """Return the faults that act, oldest first."""
        return self._ask(tuple[FaultInfo, ...], "faults")

    def doctor(self) -> LabReport:
        """Measure every wire (a few seconds), and list what this kernel made us substitute."""
        return self._ask(LabReport, "doctor")

    def exec_argv(self, machine_or_instance: str, argv: Sequence[str]) -> list[str]:
        """Return the host's command that runs `argv` inside a machine or instance.

        Raises:
            NotFoundError: there is no such thing, or it does not run.
        """
        place = self._ask(Entrance, "place", target=machine_or_instance)
        command = list(argv)
        for pid in reversed(place.pids):
            command = ["nsenter", f"--target={pid}", *_INTO, "--", *command]
        # Pids count from the capsule's root on: enter its view of processes first.
        enter = ["nsenter", f"--target={self._info.root_pid}", "--mount", "--pid", "--"]
        return [*enter, *command]

    def controller_endpoints(self) -> tuple[str, ...]:
        """Return where the controllers answer: one socket per powered controller machine."""
        return tuple(
            f"unix:{root}/{CONTROLLER_SOCKET}" for root in self._roots(Role.CONTROLLER)
        )

    def told_services(self) -> dict[str, Service]:
        """Return services as the nodes with power were last told of them; asks no controller.

        Of each the newest that a node has on its disk. What runs on none of them is missing.
        """
        targets: list[Target] = []
        for root in self._roots(Role.NODE):
            with suppress(OSError, UsageError):  # it was told nothing yet
                targets.append(read(Target, Path(root, TARGET).read_bytes()))
        targets.sort(key=lambda target: target.generation)
        return {each.name: each for target in targets for each in target.services}

    def _roots(self, role: Role) -> tuple[str, ...]:
        """Return, as the host sees them, the file systems of the machines that have power."""
        wanted = [one.pid for one in self.machines() if role in one.roles and one.pid]
        by_capsule_pid = _children(self._info.root_pid)
        found = (by_capsule_pid[pid] for pid in wanted if pid in by_capsule_pid)
        return tuple(f"/proc/{pid}/root" for pid in found)

    def pcap_argv(self, link: str, file: str) -> list[str]:
        """Return the host's command that captures a segment's frames into `file`.

        Raises:
            NotFoundError: no such segment, or none of its machines has power.
        """
        interface = self._ask(str, "capture", target=link)
        enter = ["nsenter", f"--target={self._info.root_pid}", "--net", "--"]
        options = ("-Z", "root", "--immediate-mode", "-U")
        return [*enter, "tcpdump", *options, "-i", interface, "-w", file]

    def down(self) -> float:
        """End the lab; return the seconds until nothing of it was left.

        Raises:
            UnavailableError: the kernel does not let go of it; names the processes.
        """
        return end_lab(self._info)

    def _ask(self, shape: type[_T], verb: str, **arguments: object) -> _T:
        path = directory_of(self.name) / SOCKET
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            try:
                connection.connect(str(path))
                connection.sendall(request_line(verb, arguments))
                with connection.makefile("rb") as replies:
                    line = replies.readline()
            except OSError as error:
                raise UnavailableError(
                    f"the lab {self.name} does not answer ({error}); is it running?"
                ) from error
        return read_reply(shape, line)


_SENTENCES = tuple[str, ...]


def _await_ready(reports: int, on_progress: Callable[[str], None]) -> bool:
    """Return whether the lab is ready; False if the keeper ended without a word."""
    patience, rest, last = Patience(_START_SECONDS), b"", "it has said nothing yet"

    def pass_on(sentence: str) -> None:
        nonlocal patience, last
        patience, last = Patience(_START_SECONDS), f"it last said: {sentence}"
        on_progress(sentence)

    while True:
        if not select.select((reports,), (), (), _LOOK_SECONDS)[0]:
            if not patience.left():
                raise UnavailableError(f"the lab did not go on {patience.sentence}; {last}")
            continue
        block = os.read(reports, 65_536)
        if not block:
            return False
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if _read_report(json.loads(line), pass_on):
                return True


def _read_report(message: Mapping[str, str], on_progress: Callable[[str], None]) -> bool:
    """Return whether the lab has started; raise what went wrong."""
    if "error" in message:
        raise_error(message["kind"], message["error"])
    if "progress" in message:
        on_progress(message["progress"])
    return "ready" in message


def check_name(name: str) -> None:
    """Refuse a name for a new lab.

    Raises:
        UsageError: it cannot be one.
        ConflictError: a lab of that name is running.
    """
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    if not 0 < len(name) <= _NAME_LENGTH or name[0] == "." or not set(name) <= allowed:
        raise UsageError(
            f"{name!r} cannot name a lab: letters, digits, '-', '_', '.', up to {_NAME_LENGTH}"
        )
    if any(info.name == name for info in running_labs()):
        raise ConflictError(
            f"a lab called {name} is running already; choose another name, or end it with: "
            f"pltfrms lab down --lab {name}"
        )


def check_root() -> None:
    """Refuse to start a lab without root; UsageError."""
    if os.geteuid() != 0:
        raise UsageError("a lab needs root (namespaces, interfaces); run it with sudo")


def _check_machine(parts: LabParts) -> None:
    check_root()
    programs = {unit.command[0] for one in parts.machines for unit in one.units if unit.command}
    missing = sorted(one for one in {*_TOOLS, *programs} if shutil.which(one) is None)
    if missing:
        packages = ", ".join(f"{one} (Debian: {_PACKAGES.get(one, one)})" for one in missing)
        raise UsageError(f"missing on this machine: {packages}")


def _environment() -> dict[str, str]:
    source = str(Path(pltfrms.__file__).resolve().parent.parent)
    paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _children(parent: int) -> dict[int, int]:
    """Return pid here by pid one level below, of the processes that `parent` has forked."""
    found: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            fields = dict(
                line.split(":", 1) for line in path.read_text().splitlines() if ":" in line
            )
            pids = [int(pid) for pid in fields["NSpid"].split()]
            if int(fields["PPid"]) == parent and len(pids) > 1:
                found[pids[1]] = pids[0]
    return found
