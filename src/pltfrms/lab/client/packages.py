"""A lab whose machines boot a Debian's systemd, and get the package and their place by it.

What an operator does by hand is done here by the same commands: the package is installed, the
first controller begins the platform, and every other machine joins with its bundle.
"""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep

import pltfrms
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.lab.client.client import LabClient, check_name, check_root, start_lab
from pltfrms.lab.groups import v2_tree
from pltfrms.lab.processes.patience import Patience
from pltfrms.model.network.lab import cache_of
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.network.tunnels import tunnels_of

SYSTEMS = ("bookworm", "trixie")
"""Debian 12 and 13."""
_SCRIPTS = Path(pltfrms.__file__).resolve().parents[2] / "scripts"
_ENVIRONMENT = (
    "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
    "DEBIAN_FRONTEND=noninteractive",
)
_PASSPHRASE = "of a lab, which protects nothing"  # noqa: S105 - as it says
_APT = ("apt-get", "install", "-qq", "-y", "--no-install-recommends")
_SECONDS = 120.0
"""For one step of a machine, on a quiet one."""
_JOIN_SECONDS = 300
_LONGEST_SECONDS = 900
"""Of one command: files of a Debian come over the network."""
_POLL_SECONDS = 0.5
_SAID_LENGTH = 500


def systems_of(platform: Platform, system: str | None) -> dict[str, str]:
    """Return which Debian each machine has: the one that is asked for, or by turns.

    Raises:
        UsageError: a machine has what no Debian tree here can run.
    """
    caches = [each.name for each in platform.managed if cache_of(platform, each)]
    if caches:
        raise UsageError(
            f"{', '.join(caches)}: with --packages nothing runs but the package, and this "
            "platform wants an RTR cache there; start its lab without --packages"
        )
    chosen = (system,) if system else SYSTEMS
    return {
        machine.name: chosen[index % len(chosen)]
        for index, machine in enumerate(platform.managed)
    }


def start_with_packages(
    directory: Path,
    name: str | None,
    system: str | None,
    say: Callable[[str], None],
    started_by: str = "",
) -> LabClient:
    """Start the lab of `directory` from packages; returns when all machines have joined.

    Raises:
        SpecError: a file is wrong.
        UsageError: not root, not a clone of the repository, no cgroup v2, or see `systems_of`.
        ConflictError: a lab of that name is running.
        UnavailableError: something does not come up. What has power stays, to be looked at.
    """
    from pltfrms.specfile import load_platform  # noqa: PLC0415 - 0.2 s, for one command

    platform = load_platform(directory / "platform.yaml")
    systems = systems_of(platform, system)
    check_name(name or directory.resolve().name)
    check_root()
    if not _SCRIPTS.is_dir():
        raise UsageError("packages are built from a clone of the repository: run it from one")
    if v2_tree() is None:
        raise UsageError("machines with systemd need cgroup v2, which is not mounted here")
    with TemporaryDirectory() as place:
        made = _make(tuple(dict.fromkeys(systems.values())), Path(place), say)
        trees = {machine: str(made[each].tree) for machine, each in systems.items()}
        client = start_lab(directory, name, say, started_by, trees)
        beds = {machine: _Bed(client, machine) for machine in systems}
        _each(beds, lambda bed: _install(bed, made[systems[bed.machine]].package))
    say("the package is installed on all of them")
    _bring_in(platform, (directory / "platform.yaml").read_text(), beds, say)
    return client


@dataclass(frozen=True, slots=True)
class _Made:
    tree: Path
    package: Path


def _make(systems: Sequence[str], place: Path, say: Callable[[str], None]) -> dict[str, _Made]:
    """Make files and package of each Debian, both Debians at the same time."""
    say(f"making files and packages of Debian ({', '.join(systems)})")

    def make(system: str) -> _Made:
        tree = _script("make-tree", system, why=f"there are no files of Debian's {system}")
        words = ("build-deb", tree)
        package = _script(*words, why=f"there is no package for {system}", place=place)
        return _Made(Path(tree), Path(package))

    with ThreadPoolExecutor(len(systems)) as pool:
        made = dict(zip(systems, pool.map(make, systems), strict=True))
    say("files and packages are there")
    return made


def _script(name: str, *words: str, why: str, place: Path | None = None) -> str:
    """Run a script of the repository; return what it says at its end."""
    environment = ["env", *([f"PLTFRMS_DIST={place}"] if place else ())]
    done = _run([*environment, str(_SCRIPTS / name), *words])
    if done.returncode:
        said = _end_of(done.stderr)
        raise UnavailableError(f"{why}: scripts/{name} failed (is the network there?): {said}")
    return done.stdout.decode().strip().rpartition("\n")[2]


def _run(command: list[str], put: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            command, input=put, capture_output=True, check=False, timeout=_LONGEST_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        why = f"`{' '.join(command)}` took longer than {_LONGEST_SECONDS} s"
        raise UnavailableError(why) from error


def _end_of(said: bytes) -> str:
    return said.decode(errors="replace").strip()[-_SAID_LENGTH:]


@dataclass(frozen=True, slots=True)
class _Bed:
    """A machine that has booted, for commands."""

    client: LabClient
    machine: str

    def try_run(self, *words: str, put: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        argv = self.client.exec_argv(self.machine, ["env", "-i", *_ENVIRONMENT, *words])
        return _run(argv, put)

    def run(self, *words: str, put: bytes = b"") -> bytes:
        """Run a command there; UnavailableError with what it said if it fails."""
        done = self.try_run(*words, put=put)
        if done.returncode:
            said = _end_of(done.stderr or done.stdout)
            raise UnavailableError(f"on {self.machine}: `{' '.join(words)}` failed: {said}")
        return done.stdout

    def put(self, path: str, content: bytes) -> None:
        """Write a file for root's eyes alone."""
        self.run("sh", "-c", 'umask 077; cat >"$1"', "sh", path, put=content)

    def wait(self, holds: Callable[["_Bed"], bool], what: str) -> None:
        patience = Patience(_SECONDS)
        while not holds(self):
            if not patience.left():
                raise UnavailableError(f"on {self.machine}: {what} {patience.sentence}")
            sleep(_POLL_SECONDS)


def _each(beds: Mapping[str, _Bed], work: Callable[[_Bed], None]) -> None:
    """Do work on machines at the same time."""
    with ThreadPoolExecutor(max(len(beds), 1)) as pool:
        list(pool.map(work, beds.values()))


def _has_booted(bed: _Bed) -> bool:
    said = bed.try_run("systemctl", "is-system-running").stdout.decode().strip()
    return said in {"running", "degraded"}


def _install(bed: _Bed, package: Path) -> None:
    bed.wait(_has_booted, "systemd has not started all")
    bed.put(f"/root/{package.name}", package.read_bytes())
    bed.run(*_APT, f"/root/{package.name}")


def _bring_in(
    platform: Platform, text: str, beds: Mapping[str, _Bed], say: Callable[[str], None]
) -> None:
    """Begin the platform on its first controller, and have all others join."""
    first = beds[platform.machines_of(Role.CONTROLLER)[0].name]
    others = {name: bed for name, bed in beds.items() if bed is not first}
    spec = "/root/platform.yaml"
    first.put(spec, text.encode())
    passphrase = f"{_PASSPHRASE}\n" * 2
    words = (
        "pltfrms",
        "bootstrap",
        spec,
        "--machine",
        first.machine,
        "--root-key",
        "/root/root.pem",
    )
    first.run(*words, put=passphrase.encode())
    if any(tunnels_of(platform, name) for name in beds):
        first.run("pltfrms", "network", "make-secret")
    first.run("systemctl", "start", "pltfrms.target")
    first.wait(_answers, "no controller answers")
    say(f"{first.machine} has begun the platform")
    for name, bed in others.items():
        first.run("pltfrms", "machine", "bundle", name, "--output", f"/root/{name}.bundle")
        bed.put("/root/bundle", first.run("cat", f"/root/{name}.bundle"))
    _each(others, _join)
    say(f"{len(others)} others have joined")
    wanted = {each.name for each in platform.machines_of(Role.CONTROLLER)}
    first.wait(lambda bed: _members(bed.client) == wanted, "the store lacks members")
    say(f"the store has {len(wanted)} members")


def _answers(bed: _Bed) -> bool:
    return not bed.try_run("pltfrms", "status").returncode


def _members(client: LabClient) -> set[str]:
    """Return the machines whose members of the store are well, and vote."""
    try:
        with OperatorClient(client.controller_endpoints()) as operator:
            store = operator.snapshot().store
    except UnavailableError:
        return set()
    return {each.name for each in store.look.voters if not each.trouble} if store else set()


def _join(bed: _Bed) -> None:
    bed.run("pltfrms", "join", "--bundle", "/root/bundle", "--timeout", f"{_JOIN_SECONDS}s")
