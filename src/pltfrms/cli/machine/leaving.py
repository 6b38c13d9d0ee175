"""What `machine leave` does, step by step; whoever repeats it goes on where it was ended.

What clients and others count on goes first, and what says who this machine is goes last: as
long as that is there, the rest can be done again.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pltfrms.api.store.member import FIRST_FILE, USED_FILE
from pltfrms.cli.shared.output import unix_ms
from pltfrms.codec import decode
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.tls import client_context
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.private import replace_file
from pltfrms.drivers.units import Units
from pltfrms.drivers.workload.disks.volumes import VOLUMES
from pltfrms.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
    UsageError,
    VersionError,
)
from pltfrms.model.identity.words import LEAVING_FILE, LeaveAsk, controllers_server_name
from pltfrms.model.network.topology import Platform, Role, controller_url
from pltfrms.model.network.tunnels import BACKBONE_FILE
from pltfrms.model.running.plan import Target
from pltfrms.planner.identity.access import why_unsigned
from pltfrms.planner.upkeep.leaving import why_not_leave

_NAME_FILE = "machine"
_CONFIGURATION = ("platform.yaml", BACKBONE_FILE, FIRST_FILE, USED_FILE)
_SECONDS = 10.0
_PINS = "bpf"
"""In the directory of the runtime: where the director was."""
_STOPS = (
    ("pltfrms.target", "pltfrms-bird.path", "pltfrms-agent.service"),
    ("pltfrms-bird.service", "pltfrms-controller.service"),
    ("pltfrms-instances.service", "pltfrms-etcd.service"),
    ("pltfrms-instances.slice", "pltfrms.slice"),
)
"""In this order: nobody starts BIRD again, clients go elsewhere, then what answered ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What became of a machine."""

    machine: str
    """Empty: it was of no platform."""
    changed: bool


def leave_platform(
    places: Directories,
    controllers: Sequence[str],
    seconds: float,
    units: Units,
    clear: Callable[[], object],
    *,
    despite: bool,
) -> Left:
    """Have this machine leave its platform: nothing of it is left here, or believed elsewhere.

    `clear` takes from the kernel what agents have made; `despite`: although it is not drained,
    or no controller answers.

    Raises:
        ConflictError: somebody may count on this machine.
        UnavailableError: no controller answers, or a unit does not stop.
    """
    name = _name(places)
    if not name:
        return Left(machine="", changed=False)
    marker = places.state / LEAVING_FILE
    if not marker.exists():
        target = _target(places, despite=despite)
        reasons = why_not_leave(target, unix_ms()) if target else ()
        if reasons and not despite:
            raise ConflictError("; ".join(reasons) + "; or --now, if nobody counts on it")
        try:
            _make_void(places, target, controllers, seconds)
        except (ConflictError, UnavailableError):
            if not despite:
                raise
        replace_file(marker, b"")
    for together in _STOPS:
        units.stop(*together)
    clear()
    _forget(places)
    return Left(machine=name, changed=True)


def _name(places: Directories) -> str:
    try:
        return (places.config / _NAME_FILE).read_text().strip()
    except FileNotFoundError:
        return ""


def _target(places: Directories, *, despite: bool) -> Target | None:
    """Return what this machine was told last; None: nothing, or `despite` that is not known."""
    path = places.state / "target.json"
    if not path.exists():
        if IdentityFile(places.state).there and not despite:
            raise ConflictError(
                "it is not known what counts on this machine: its agent was told nothing yet; "
                "--now, if nobody counts on it"
            )
        return None
    try:
        return decode(Target, path.read_bytes())
    except (OSError, UsageError) as error:
        if despite:
            return None
        raise ConflictError(
            f"{path} cannot be read ({error}), so it is not known what counts on this machine; "
            "--now leaves all the same"
        ) from error


def _make_void(
    places: Directories, target: Target | None, controllers: Sequence[str], seconds: float
) -> None:
    """Have controllers believe this machine no more. Again, they refuse even to be asked."""
    file = IdentityFile(places.state)
    if target is None or not file.there:
        return
    platform = target.platform
    context = client_context(file, lambda shown: why_unsigned(shown.issuer, platform))
    name = controllers_server_name(platform.name)
    urls = list(controllers) or _others(platform, target.machine)
    with OperatorClient(
        urls, seconds, tls=lambda plain: context.wrap_socket(plain, server_hostname=name)
    ) as client:
        try:
            client.post("/v1/identity/leave", LeaveAsk(machine=target.machine), LeaveAsk)
        except (ForbiddenError, NotFoundError) as error:
            if _is_believed(client, target.machine):
                raise ConflictError(
                    "a controller that answers is of an older release, and cannot make void "
                    "what this machine has; ask another one with --controller, or --now and "
                    "take the machine out of platform.yaml"
                ) from error


def _is_believed(client: OperatorClient, machine: str) -> bool:
    """Return whether a machine may still ask for what is its own."""
    try:
        with contextlib.suppress(VersionError):  # it was let in, whatever it was told
            client.get(f"/v1/targets/{machine}", {"after": "0"}, Target)
    except (ForbiddenError, NotFoundError):
        return False
    return True


def _others(platform: Platform, machine: str) -> list[str]:
    return [
        controller_url(platform, each, secure=True)
        for each in platform.machines_of(Role.CONTROLLER)
        if each.name != machine
    ]


def _forget(places: Directories) -> None:
    """Remove our files; what the owner has added to BIRD's configuration, and logs, stay."""
    for each in _CONFIGURATION:
        (places.config / each).unlink(missing_ok=True)
    pins = places.runtime / _PINS
    if pins.is_mount():
        subprocess.run(["umount", str(pins)], check=False, timeout=_SECONDS)
    for directory in (places.state, places.runtime):
        _empty(directory)
    (places.config / _NAME_FILE).unlink(missing_ok=True)


def _empty(directory: Path) -> None:
    """Remove all that is in a directory, and on a disk of its own there, as the store's.

    Volumes stay: they are released by name, or kept. Last goes that this machine may leave: a
    second time less is there to know it by.
    """
    found = [*directory.iterdir()] if directory.is_dir() else []
    found = [each for each in found if each.name != VOLUMES or not any(each.iterdir())]
    for path in sorted(found, key=lambda each: each.name == LEAVING_FILE):
        if path.is_mount():
            _empty(path)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
