"""What `machine bundle`, `machine replace` and `join --bundle` do.

A machine that is new reaches no controller: they answer inside the platform alone. So one file
has what its agent needs to build the ways there, and the token with which it then joins.
"""

from ipaddress import IPv6Address
from pathlib import Path
from tempfile import NamedTemporaryFile

from pltfrms.cli.machine.joining import Joined, join_platform, refuse_another, write_name
from pltfrms.cli.shared.specs import load_platform
from pltfrms.codec import decode, encode
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.drivers.identity.authority import pinned_root
from pltfrms.drivers.identity.files import private_text
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.private import make_directory, replace_file
from pltfrms.drivers.units import Units
from pltfrms.errors import ConflictError, NotFoundError, UsageError
from pltfrms.model.identity.words import (
    Bundle,
    JoinToken,
    Roots,
    TokenAsk,
    TokenReply,
)
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.network.tunnels import BACKBONE_FILE, tunnels_of

_PLATFORM_FILE = "platform.yaml"
_FIRST_UNITS = ("pltfrms-agent.service", "pltfrms-bird.path")
_ALL = "pltfrms.target"
_SPEAKING = ("pltfrms-agent.service", "pltfrms-controller.service")
_CONFIG_MODE = 0o755


def make_bundle(
    client: OperatorClient, ask: TokenAsk, spec: Path, secret: Path, output: Path
) -> Bundle:
    """Make a token, and write it with all that goes with it, for our eyes alone.

    Nothing is asked of controllers before all else is known to be right.

    Raises:
        NotFoundError: the file of the platform has no such machine.
        UsageError: the file is wrong, or the machine has tunnels and there is no secret.
        ConflictError: the controller does not make void what the machine has.
    """
    text = _text(spec)
    platform = load_platform(spec)
    if ask.machine not in {each.name for each in platform.managed}:
        raise NotFoundError(f"{spec} has no machine {ask.machine!r} with an agent")
    tunnels = bool(tunnels_of(platform, ask.machine))
    backbone = private_text(secret) if tunnels else ""
    roots = client.get("/v1/identity/roots", {}, Roots)
    if roots.platform != platform.name:
        raise UsageError(
            f"{spec} is of {platform.name}, and controllers are of {roots.platform}"
        )
    made = client.post("/v1/identity/tokens", ask, TokenReply)
    if ask.void and not made.void:
        raise ConflictError(
            f"the controller that answers is of an older release: what {ask.machine} has is "
            "good until another one joins; ask a newer controller"
        )
    bundle = Bundle(
        token=made.token,
        roots=roots.roots,
        controllers=tuple(map(str, _controllers(platform, ask.machine))),
        platform=text,
        backbone_secret=backbone,
    )
    replace_file(output, encode(bundle))
    return bundle


def join_with_bundle(path: Path, places: Directories, seconds: float, units: Units) -> Joined:
    """Have this machine join with all that it needs in one file.

    Its agent is started first, and builds the ways to controllers; once it has joined, all that
    belongs on this machine. Each step may be interrupted, and is done again by who repeats.

    Raises:
        UsageError: the file is no bundle, or what is in it does not fit together.
        ConflictError: this machine is another one already.
        UnavailableError: no controller answers in time.
    """
    bundle = _read(path)
    token = JoinToken.of(bundle.token)
    pinned_root(bundle.roots, token.pin)
    if not places.config.exists():  # else its mode is its owner's
        make_directory(places.config, _CONFIG_MODE)
    platform = _platform(bundle, places.config)
    if token.machine not in {each.name for each in platform.managed}:
        raise UsageError(f"{path}: its platform.yaml has no machine {token.machine!r}")
    if not refuse_another(places.state, platform.name, token):
        replace_file(places.config / _PLATFORM_FILE, bundle.platform.encode())
        if bundle.backbone_secret:
            replace_file(places.config / BACKBONE_FILE, bundle.backbone_secret.encode())
        write_name(places, token.machine)
    units.start(*_FIRST_UNITS)
    done = join_platform(token, bundle.controllers, places, seconds)
    units.restart(*_SPEAKING)
    units.start(_ALL)
    return done


def _controllers(platform: Platform, machine: str) -> tuple[IPv6Address, ...]:
    """Return where controllers answer, those of the machine's datacenter first, not itself."""
    home = platform.machine(machine).datacenter
    others = (each for each in platform.machines_of(Role.CONTROLLER) if each.name != machine)
    nearest = sorted(others, key=lambda each: each.datacenter != home)
    return tuple(platform.loopback6(each) for each in nearest)


def _read(path: Path) -> Bundle:
    try:
        return decode(Bundle, private_text(path).encode())
    except UsageError as error:
        raise UsageError(f"{path} is no bundle: {error}") from error


def _platform(bundle: Bundle, directory: Path) -> Platform:
    """Return the platform of a bundle, read as that of a file; UsageError, SpecError."""
    with NamedTemporaryFile("w", dir=directory, suffix=".yaml") as file:
        file.write(bundle.platform)
        file.flush()
        return load_platform(Path(file.name))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}; name it with --platform") from error
