"""What `bootstrap`, `join` and `controller authority` do, step by step.

Each step is a file that is replaced at once, and is found by who begins again after having been
killed. The identity comes last: with it a machine begins to speak by TLS.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from pltfrms.api.store.member import begins_alone
from pltfrms.cli.machine.rotating import is_known, why_no_authority
from pltfrms.cli.shared.output import unix_ms
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.drivers.identity.authority import (
    Authority,
    AuthorityFile,
    Pair,
    certificates_of,
    issuing_root,
    make_authority,
    make_root,
    pinned_root,
    vouch,
)
from pltfrms.drivers.identity.files import Identity, IdentityFile, RootsFile, private_text
from pltfrms.drivers.identity.keys import make_key, make_request
from pltfrms.drivers.identity.store_files import StoreFiles
from pltfrms.drivers.identity.tls import doubting_context, trusting_context
from pltfrms.drivers.listening import who_listens
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.private import PASSED_DIRECTORY, locked, make_directory, replace_file
from pltfrms.errors import ConflictError, UnavailableError, UsageError
from pltfrms.model.identity.words import (
    LEAVING_FILE,
    Certified,
    JoinAsk,
    JoinToken,
    Roots,
    controllers_server_name,
)
from pltfrms.model.network.topology import CONTROLLER_PORT, Platform, Role

_BEGIN = "-----BEGIN CERTIFICATE-----"
_ANSWER_SECONDS = 1.5
_TRY_SECONDS = 3.0
_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What this machine is now."""

    platform: str
    machine: str
    until_ms: int
    """When its certificate ends; it is renewed before."""
    changed: bool
    """Whether that was done just now."""


def require_first(platform: Platform, machine: str) -> None:
    """Refuse to begin a platform that runs already: it would have a second store.

    Raises:
        ConflictError: another controller of it answers.
    """
    others = {
        str(platform.loopback6(each)): each.name
        for each in platform.machines_of(Role.CONTROLLER)
        if each.name != machine
    }
    found = [others[at] for at in who_listens([*others], CONTROLLER_PORT, _ANSWER_SECONDS)]
    if found:
        raise ConflictError(
            f"{platform.name} runs already: {', '.join(found)} answers as its controller. To "
            f"bring this machine back: on {found[0]} `pltfrms machine token {machine}`, here "
            "`pltfrms join TOKEN --controller ADDRESS`; its member of the store is added by "
            "itself. To begin anew instead, stop those first"
        )


def begin(
    platform: Platform, machine: str, places: Directories, root_file: Path, passphrase: str
) -> Joined:
    """Make the platform's root, what this controller signs with, and its identity.

    Raises:
        ConflictError: this machine is another one already.
        UsageError: the root of an earlier run is there, and the passphrase is another.
    """
    with _alone(places.state):
        return _begin(platform, machine, places, root_file, passphrase)


def _begin(
    platform: Platform, machine: str, places: Directories, root_file: Path, passphrase: str
) -> Joined:
    file = IdentityFile(places.state)
    if file.there:
        own = file.read()
        _require_same(own.platform, own.machine, platform.name, machine)
        _stay(places)
        return _joined(file, changed=False)
    root = read_or_make_root(root_file, platform.name, passphrase)
    authority = AuthorityFile(places.state)
    make_directory(authority.path.parent)
    authority.write(make_authority(root, passphrase, machine, unix_ms()))
    signer = Authority(platform.name, root.certificate, authority.read(), unix_ms)
    if begins_alone(places, machine):  # one that is there goes on to speak as its members do
        StoreFiles(places.state).begin(platform.name)
    key = make_key()
    request = make_request(key, platform.name, machine)
    made = signer.issue(request, machine, 1, controller=True)
    write_name(places, machine)
    _stay(places)
    file.write(key, request, made, unix_ms())
    return _joined(file, changed=True)


def renew_authority(
    state: Path, root_file: Path, passphrase: str, *, despite: bool = False
) -> Joined:
    """Make anew what this controller signs certificates with, for a year.

    `despite`: by a root that some machines do not trust yet.

    Raises:
        UsageError: this machine has no identity, or the root is not trusted here, or not
            long enough for all machines to trust it.
    """
    own, root, now_ms = IdentityFile(state).read(), _read_root(root_file), unix_ms()
    why = why_no_authority(own.roots, RootsFile(state).read(), root.certificate, now_ms)
    if why and not (despite and is_known(own.roots, root.certificate)):
        raise UsageError(why)
    AuthorityFile(state).write(make_authority(root, passphrase, own.machine, now_ms))
    return _joined(IdentityFile(state), changed=True)


def join_platform(
    token: JoinToken, addresses: Sequence[str], places: Directories, seconds: float
) -> Joined:
    """Have this machine join: its key is made here, and never leaves it.

    Raises:
        UsageError: who answers is not of the token's platform, or the address is none.
        ForbiddenError: the token does not let it in.
        UnavailableError: nobody answers.
        ConflictError: another command does the same at this moment.
    """
    with _alone(places.state):
        return _join(token, [endpoint_of(each) for each in addresses], places, seconds)


def _join(token: JoinToken, urls: Sequence[str], places: Directories, seconds: float) -> Joined:
    file, digest = IdentityFile(places.state), _digest(token)
    pending = file.directory / "joining.pem"
    own = _usable(file)
    if own and own.joined_by == digest:
        pending.unlink(missing_ok=True)
        _stay(places)
        return _joined(file, changed=False)
    make_directory(file.directory)
    key = _pending_key(pending, digest)
    roots = _roots(urls, token, seconds)
    if own and own.platform != roots.platform:  # before the token is used up
        _require_same(own.platform, own.machine, roots.platform, token.machine)
    request = make_request(key, roots.platform, token.machine)
    made = _ask(urls, roots, token, request, seconds)
    write_name(places, made.machine)
    _stay(places)
    file.write(key, request, made, unix_ms(), digest)
    pending.unlink()
    return _joined(file, changed=True)


def _stay(places: Directories) -> None:
    """Have a leave that was interrupted begin anew: other things may count on this machine."""
    (places.state / LEAVING_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Keep other commands from giving this machine an identity meanwhile."""
    make_directory(state, PASSED_DIRECTORY)
    with contextlib.ExitStack() as holding:
        try:
            holding.enter_context(locked(state, wait=False))
        except BlockingIOError:
            raise ConflictError(
                "another command gives this machine an identity just now; wait for its end"
            ) from None
        yield


def _usable(file: IdentityFile) -> Identity | None:
    """Return the identity of before; None if there is none, or one that nobody can use."""
    try:
        return file.read() if file.there else None
    except UsageError:
        return None


def endpoint_of(address: str) -> str:
    """Return the URL of a controller that is named by its address, with or without a port."""
    bare = address.removeprefix("https://").rstrip("/")
    if bare.count(":") > 1 and not bare.startswith("["):
        bare = f"[{bare}]"
    try:
        parts = urlsplit(f"https://{bare}")
        port = parts.port or CONTROLLER_PORT
    except ValueError:
        parts, port = urlsplit(""), 0
    if not parts.hostname or parts.path or parts.username or "/" in bare:
        raise UsageError(
            f"{address!r} is no address of a controller; write ADDRESS or ADDRESS:PORT"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"https://{host}:{port}"


def _roots(urls: Sequence[str], token: JoinToken, seconds: float) -> Roots:
    """Return the roots of who answers, of whom nothing is believed but what the token pins."""
    context = doubting_context()
    with OperatorClient(urls, min(seconds, _TRY_SECONDS), tls=context.wrap_socket) as client:
        roots = _patiently(lambda: client.get("/v1/identity/roots", {}, Roots), seconds)
    return replace(roots, roots=pinned_root(roots.roots, token.pin))


def _patiently(ask: Callable[[], Roots], seconds: float) -> Roots:
    """Ask until somebody answers: tunnels and routes to controllers may just be coming."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except UnavailableError:
            if time.monotonic() + _AGAIN_SECONDS >= end:
                raise
        time.sleep(_AGAIN_SECONDS)


def _ask(
    urls: Sequence[str], roots: Roots, token: JoinToken, request: str, seconds: float
) -> Certified:
    context, name = trusting_context(roots.roots), controllers_server_name(roots.platform)
    ask = JoinAsk(machine=token.machine, secret=token.secret, request=request)
    with OperatorClient(
        urls, seconds, tls=lambda plain: context.wrap_socket(plain, server_hostname=name)
    ) as client:
        made = client.post("/v1/identity/join", ask, Certified)
    if (made.platform, made.machine) != (roots.platform, token.machine):
        raise UsageError(f"a certificate for {made.machine} of {made.platform}: not asked for")
    pinned_root(made.roots, token.pin)
    return made  # other roots beside it come from who has shown to be a controller


def _pending_key(pending: Path, digest: str) -> str:
    """Return the key that goes with a token: the same if this is asked again."""
    if pending.exists():
        head, _, key = private_text(pending).partition("\n")
        if head == digest:
            return key
    key = make_key()
    replace_file(pending, f"{digest}\n{key}".encode())
    return key


def read_or_make_root(path: Path, platform: str, passphrase: str) -> Pair:
    """Return the root that an earlier run has made, or make it."""
    if path.exists():
        return _read_root(path)
    root = make_root(platform, passphrase, unix_ms())
    replace_file(path, f"{root.key.strip()}\n{root.certificate}".encode())
    return root


def vouch_for_root(path: Path, old: Path, passphrase: str) -> None:
    """Have an old root say that a new one is as good: who was away comes back by it.

    What this makes is in the new root's file, and goes along with what that signs from then on.

    Raises:
        UsageError: the passphrase of the old one is another, or a file is no root's.
    """
    new = _read_root(path)
    signer, (certificate, *known) = _read_root(old), certificates_of(new.certificate)
    others = [each for each in known if not issuing_root(each, [signer.certificate])]
    voucher = vouch(signer, passphrase, certificate, unix_ms())
    replace_file(
        path, "".join((f"{new.key.strip()}\n{certificate}", *others, voucher)).encode()
    )


def _read_root(path: Path) -> Pair:
    key, mark, certificate = private_text(path).partition(_BEGIN)
    return Pair(certificate=mark + certificate, key=key)


def write_name(places: Directories, machine: str) -> None:
    """Note which machine of its platform this one is."""
    places.config.mkdir(parents=True, exist_ok=True)
    replace_file(places.config / "machine", f"{machine}\n".encode())


def refuse_another(state: Path, platform: str, token: JoinToken) -> bool:
    """Return whether this machine has joined with a token; ConflictError: it is another one."""
    own = _usable(IdentityFile(state))
    if own is None:
        return False
    _require_same(own.platform, own.machine, platform, token.machine)
    return own.joined_by == _digest(token)


def _digest(token: JoinToken) -> str:
    return sha256(token.secret.encode()).hexdigest()


def _require_same(platform: str, machine: str, wanted: str, name: str) -> None:
    if (platform, machine) != (wanted, name):
        raise ConflictError(
            f"this machine is {machine} of {platform} already, not {name} of {wanted}"
        )


def _joined(file: IdentityFile, *, changed: bool) -> Joined:
    own = file.read()
    return Joined(
        platform=own.platform, machine=own.machine, until_ms=own.not_after_ms, changed=changed
    )
