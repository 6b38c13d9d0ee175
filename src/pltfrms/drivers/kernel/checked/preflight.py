"""What a machine has beside its ports: kernel, clock, disk, who else is there.

Nothing is changed, but for a small file that is written and removed to time the disk.
"""

import asyncio
import ctypes
import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pltfrms.drivers.kernel.checked.echo import IcmpPinger
from pltfrms.drivers.kernel.checked.encapsulated import passes
from pltfrms.drivers.kernel.found import text_of
from pltfrms.drivers.tool import ToolFailedError, run_tool
from pltfrms.errors import UnavailableError
from pltfrms.model.network.system import Listener, LocalWay, SysctlLine

_TCX_KERNEL: Final = (6, 6)
"""From here on a program of the director needs no queueing discipline."""
_TCX_INSTEAD: Final = frozenset({"sch_ingress", "cls_bpf"})
_LISTENS, _UDP_OPEN = "0A", "07"
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")
_OURS: Final = "pltfrms"
_SYSCTL_DIRECTORIES: Final = ("usr/lib/sysctl.d", "run/sysctl.d", "etc/sysctl.d")
"""Of files of one name the one in the last directory counts (sysctl.d(5))."""
_TIMEX_BYTES: Final = 512
_TIME_ERROR: Final = 5
_WRITES, _WRITE_BYTES = 100, 2300
"""As etcd's own advice for `fio` has it."""
_TRIES: Final = 2
_HOOKS: Final = frozenset({"input", "forward", "output"})


def modules(names: Iterable[str], root: Path, release: str) -> Mapping[str, bool]:
    """Return which parts of the kernel are there; who is not known is not in it."""
    directory = root / "lib/modules" / release
    known = _words(directory / "modules.builtin") | _words(directory / "modules.dep")
    found = {}
    for name in names:
        there = (root / "sys/module" / name).is_dir() or name in known
        if name in _TCX_INSTEAD and _version(release) >= _TCX_KERNEL:
            there = True
        if there or known:
            found[name] = there
    return found


def synchronized() -> bool | None:
    """Return whether the kernel says that its clock is kept right (adjtimex(2))."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state = ctypes.CDLL(None).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    return None if state < 0 else bool(state != _TIME_ERROR)


def memory_bytes(root: Path) -> int:
    """Return how much there is; 0: not known."""
    found = re.search(r"MemTotal:\s*(\d+) kB", text_of(root / "proc/meminfo"))
    return int(found[1]) << 10 if found else 0


def controllers(root: Path) -> frozenset[str] | None:
    """Return the controllers of cgroups of version 2; empty where version 1 has them."""
    try:
        return frozenset((root / "sys/fs/cgroup/cgroup.controllers").read_text().split())
    except FileNotFoundError:
        return frozenset() if (root / "sys/fs/cgroup").is_dir() else None
    except OSError:
        return None


def free_bytes(state: Path) -> int | None:
    """Return the room on the disk that `state` is or will be on."""
    try:
        found = os.statvfs(_nearest(state))
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def sync_ms(state: Path) -> float | None:
    """Return how long a small write takes to be kept, 99 of 100 times; None: no right."""
    found = []
    try:
        with tempfile.TemporaryFile(dir=_nearest(state)) as file:
            for _ in range(_WRITES):
                begun = time.perf_counter()
                file.write(bytes(_WRITE_BYTES))
                file.flush()
                os.fdatasync(file.fileno())
                found.append((time.perf_counter() - begun) * 1000)
    except OSError:
        return None
    return sorted(found)[-2]


def sysctls(root: Path) -> tuple[SysctlLine, ...]:
    """Return what files set at boot, in that order."""
    files: dict[str, Path] = {}
    for directory in _SYSCTL_DIRECTORIES:
        files |= {file.name: file for file in (root / directory).glob("*.conf")}
    every = [files[name] for name in sorted(files)]
    return tuple(
        line for file in (*every, root / "etc/sysctl.conf") for line in _sysctls_of(file, root)
    )


def _sysctls_of(file: Path, root: Path) -> Iterator[SysctlLine]:
    for text in text_of(file).splitlines():
        name, equal, value = text.partition("=")
        name = name.strip().removeprefix("-").strip()
        if equal and name and name[0] not in "#;":
            first = re.search(r"[./]", name)
            dotted = first is not None and first[0] == "."
            path = name.translate(str.maketrans("./", "/.")) if dotted else name
            shown = f"/{file.relative_to(root)}"
            yield SysctlLine(shown, path, value.strip())


def listeners(root: Path) -> tuple[Listener, ...]:
    """Return who waits on which port, each once."""
    owners = _owners(root / "proc")
    found: dict[Listener, None] = {}
    for protocol, state in (("tcp", _LISTENS), ("udp", _UDP_OPEN)):
        for family in ("", "6"):
            for row in text_of(root / "proc/net" / f"{protocol}{family}").splitlines()[1:]:
                words = row.split()
                if words[3] == state:
                    port = int(words[1].rpartition(":")[2], 16)
                    program, ours = owners.get(words[9], ("", False))
                    one = Listener(protocol=protocol, port=port, program=program, ours=ours)
                    found[one] = None
    return tuple(found)


def _owners(proc: Path) -> Mapping[str, tuple[str, bool]]:
    """Return the program of each socket's inode, and whether it is one of ours."""
    found = {}
    for process in proc.glob("[0-9]*"):
        try:
            links = [str(each.readlink()) for each in (process / "fd").iterdir()]
        except OSError:
            continue
        inodes = [match[1] for link in links if (match := _SOCKET.match(link))]
        if inodes:
            words = text_of(process / "cmdline").replace("\0", " ")
            said = (
                text_of(process / "comm"),
                _OURS in words or _OURS in text_of(process / "cgroup"),
            )
            found.update(dict.fromkeys(inodes, said))
    return found


async def dropping() -> tuple[str, ...] | None:
    """Return the chains of others that drop by default; None: nftables does not tell."""
    try:
        text = await run_tool("nft", "--json", "list", "chains")
        rows = json.loads(text)["nftables"]
    except (UnavailableError, ToolFailedError, ValueError, KeyError):
        return None
    chains = (row["chain"] for row in rows if "chain" in row)
    return tuple(
        f"{chain['family']} {chain['table']} {chain['hook']}"
        for chain in chains
        if chain.get("policy") == "drop"
        and chain.get("hook") in _HOOKS
        and not chain["table"].startswith(_OURS)
    )


async def silent(ways: Sequence[LocalWay]) -> tuple[tuple[str, str], ...]:
    """Return the (port, machine) of those that do not answer, of ports that have carrier."""
    able = [way for way in ways if _has_carrier(way.port)]
    try:
        answers = await asyncio.gather(*(_answers(way) for way in able))
    except PermissionError:  # a raw socket is for root
        return ()
    return tuple(
        (way.port, way.machine) for way, answer in zip(able, answers, strict=True) if not answer
    )


async def _answers(way: LocalWay) -> bool:
    pinger = IcmpPinger()
    for _ in range(_TRIES):
        try:
            if await pinger.ping(way.port, way.address, lambda: False) is not None:
                return True
        except PermissionError:
            raise
        except OSError:
            return False
    return False


async def swallowed(
    ways: Sequence[LocalWay], protocols: Sequence[int]
) -> tuple[tuple[str, str, int], ...]:
    """Return the (port, machine, protocol) that do not arrive, of ports that have carrier."""
    able = [(way, each) for way in ways if _has_carrier(way.port) for each in protocols]
    try:
        arrive = await asyncio.gather(*(_arrives(way, each) for way, each in able))
    except PermissionError:
        return ()
    pairs = zip(able, arrive, strict=True)
    return tuple((way.port, way.machine, each) for (way, each), there in pairs if not there)


async def _arrives(way: LocalWay, protocol: int) -> bool:
    for _ in range(_TRIES):
        if await passes(way.port, way.address, protocol):
            return True
    return False


def _has_carrier(port: str) -> bool:
    return text_of(Path("/sys/class/net") / port / "carrier") == "1"


def _nearest(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.is_dir())


def _version(release: str) -> tuple[int, ...]:
    return tuple(int(word) for word in re.findall(r"\d+", release)[:2])


def _words(file: Path) -> frozenset[str]:
    """Return the names of modules in a list of paths, as the kernel writes them."""
    names = re.findall(r"(?m)^\S*/([^/\s]+?)\.ko", text_of(file))
    return frozenset(name.replace("-", "_") for name in names)
