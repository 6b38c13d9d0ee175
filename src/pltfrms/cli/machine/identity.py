"""`bootstrap`, `machine token`, `join` and `controller authority`: who a machine is."""

import functools
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pltfrms.cli.shared.complete import complete_platform_machines
from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import Command, Entry, LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import echo, good, write_json, write_line
from pltfrms.drivers.ports import Directories
from pltfrms.errors import UsageError

if TYPE_CHECKING:
    from pltfrms.cli.machine.joining import Joined
    from pltfrms.model.network.topology import Platform

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
_NOW = click.option(
    "--now", "despite", is_flag=True, help="Although some machines may have to join again."
)
_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


def _passphrase_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="Read the passphrase of the root's key from here; else you are asked.",
    )(command)


def with_places(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the directories of this machine, which are others in tests."""

    @functools.wraps(command)
    def placed(
        *arguments: Any, config: Path, state: Path, runtime: Path, **options: Any
    ) -> Any:
        places = Directories(config=config, state=state, runtime=runtime)
        return command(*arguments, places=places, **options)

    standard = Directories()
    for name in ("config", "state", "runtime"):
        default = getattr(standard, name)
        option = click.option(f"--{name}", type=_DIRECTORY, default=default, hidden=True)
        placed = option(placed)
    return placed


@click.command(cls=Command)
@click.argument("spec", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--machine", default="", metavar="NAME", help="Which controller this machine is.")
@click.option(
    "--root-key",
    type=_FILE,
    metavar="FILE",
    help="Where to write the root's key, to be taken away.  [default: PLATFORM-root.pem]",
)
@_passphrase_option
@_JSON
@with_places
def bootstrap(
    spec: Path,
    *,
    machine: str,
    root_key: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
    places: Directories,
) -> None:
    """Begin a platform on its first controller.

    Makes the platform's root, whose key is written encrypted into a file that you take away
    and keep; what this controller signs certificates with; and this machine's own identity.
    The store begins here, with one member; other controllers become members once they run.
    May be repeated, also after it was interrupted. On a machine that has nothing it is
    refused while another controller of the platform answers.

    Example: pltfrms bootstrap platform.yaml --machine fra-c1
    """
    from pltfrms.api.store.member import FIRST_FILE, USED_FILE, has_begun  # noqa: PLC0415 - heavy
    from pltfrms.cli.machine.joining import begin, require_first  # noqa: PLC0415 - heavy
    from pltfrms.cli.shared.specs import load_platform  # noqa: PLC0415 - heavy
    from pltfrms.drivers.private import replace_file  # noqa: PLC0415 - as above

    platform = load_platform(spec)
    name = _controller(platform, machine)
    if not has_begun(places):
        require_first(platform, name)
    path = root_key or Path(f"{platform.name}-root.pem")
    passphrase = _passphrase(passphrase_file, confirm=not path.exists())
    places.config.mkdir(parents=True, exist_ok=True)
    replace_file(places.config / "platform.yaml", spec.read_bytes())
    done = begin(platform, name, places, path, passphrase)
    first, used = places.config / FIRST_FILE, places.config / USED_FILE
    if not first.exists() and not used.exists():
        # The store begins here alone, and takes the other controllers in.
        replace_file(first, f"{platform.name}-{secrets.token_hex(8)} {name}\n".encode())
    _say(done, as_json=as_json, more=f"take {path} away, and keep it with its passphrase")


_MACHINE = {
    "bundle": Entry(
        "pltfrms.cli.machine.moving",
        "bundle",
        "Write all that a machine joins with into a file",
    ),
    "replace": Entry(
        "pltfrms.cli.machine.moving", "replace", "Let another machine take the place of one"
    ),
    "leave": Entry(
        "pltfrms.cli.machine.moving", "leave", "Have this machine leave the platform"
    ),
}


@click.group(cls=LazyGroup, entries=_MACHINE)
def machine() -> None:
    """Have machines join, take the place of others, and leave.

    Example: pltfrms machine token fra-n1
    """


@machine.command("token")
@click.argument("name", shell_complete=complete_platform_machines)
@_JSON
@pass_settings
def make_token(settings: Settings, name: str, *, as_json: bool) -> None:
    """Make a token with which a machine joins within an hour.

    It is good for one machine, once, and is never shown again. An older one is void.

    Example: pltfrms machine token fra-n1
    """
    from pltfrms.cli.shared.routing import asking_user  # noqa: PLC0415 - few need it
    from pltfrms.model.identity.words import TokenAsk, TokenReply  # noqa: PLC0415 - as above

    ask = TokenAsk(machine=name, by=asking_user())
    made = connect(settings).post("/v1/identity/tokens", ask, TokenReply)
    if as_json:
        write_json(made)
        return
    write_line(made.token)
    echo(f"on {name}, within an hour: pltfrms join - --controller ADDRESS", err=True)


@click.command(cls=Command)
@click.argument("token", default="")
@click.option(
    "--token-file", type=_FILE, metavar="FILE", help="Read the token from a file instead."
)
@click.option("--controller", "address", default="", metavar="ADDRESS", help="Any controller.")
@click.option(
    "--bundle", type=_FILE, metavar="FILE", help="What `machine bundle` has written: all of it."
)
@_JSON
@with_places
@pass_settings
def join(  # noqa: PLR0913 - as many as the command has options
    settings: Settings,
    token: str,
    *,
    token_file: Path | None,
    address: str,
    bundle: Path | None,
    as_json: bool,
    places: Directories,
) -> None:
    """Have this machine join a platform.

    Its key is made here, and never leaves it. Who answers must have the root that the token
    names, so that nobody in between is believed. With a new token it joins again, and the
    older certificate is void. May be repeated, also after it was interrupted.

    `-` reads the token from standard input, or asks for it: words of a command are seen by
    every user of this machine, and kept in the history of a shell.

    With --bundle, all that it takes is in one file: the configuration is written, the agent
    started, and all that belongs on this machine once it has joined. Tunnels and routes may
    take a while to come: --timeout says how long controllers are waited for.

    Example: pltfrms join - --controller fd00::c:1
    """
    if bundle:
        if token or token_file or address:
            raise UsageError("a bundle has all that is needed: nothing else goes with --bundle")
        _join_with(bundle, places, settings.timeout_ms / 1000, as_json=as_json)
        return
    if not address:
        raise UsageError("say where a controller answers, with --controller; or --bundle FILE")
    from pltfrms.cli.machine.joining import join_platform  # noqa: PLC0415 - heavy
    from pltfrms.model.identity.words import JoinToken  # noqa: PLC0415 - as above

    known = JoinToken.of(_token(token, token_file))
    done = join_platform(known, [address], places, settings.timeout_ms / 1000)
    _say(done, as_json=as_json, more="start its agent anew: it speaks by TLS from now on")


def _join_with(path: Path, places: Directories, seconds: float, *, as_json: bool) -> None:
    from pltfrms.cli.machine.bundles import join_with_bundle  # noqa: PLC0415 - heavy
    from pltfrms.drivers.units import Units  # noqa: PLC0415 - as above

    done = join_with_bundle(path, places, seconds, Units())
    _say(done, as_json=as_json, more=f"it runs all that belongs here; remove {path}")


@click.command(cls=Command)
@click.option("--root-key", type=_FILE, required=True, metavar="FILE", help="The root's key.")
@_passphrase_option
@_NOW
@_JSON
@with_places
def authority(
    *,
    root_key: Path,
    passphrase_file: Path | None,
    despite: bool,
    as_json: bool,
    places: Directories,
) -> None:
    """Let this controller sign certificates for a year.

    Needs the root's key, which `bootstrap` has written; take it away again afterwards. A root
    that was added lately is refused until all machines trust it, but with --now.

    Example: pltfrms controller authority --root-key example-root.pem
    """
    from pltfrms.cli.machine.joining import renew_authority  # noqa: PLC0415 - heavy

    passphrase = _passphrase(passphrase_file, confirm=False)
    done = renew_authority(places.state, root_key, passphrase, despite=despite)
    _say(done, as_json=as_json, more="start its controller anew")


@click.command(cls=Command)
@click.option("--add", type=_FILE, metavar="FILE", help="Trust this root; without it, make it.")
@click.option("--drop", default="", metavar="PIN", help="Trust this root no more.")
@_passphrase_option
@_NOW
@_JSON
@with_places
def root(
    *,
    add: Path | None,
    drop: str,
    passphrase_file: Path | None,
    despite: bool,
    as_json: bool,
    places: Directories,
) -> None:
    """List the roots that are trusted, add or drop one.

    To have one root take the place of another: add it on one controller; 30 days later make
    each one's authority by it (`controller authority`); 30 days later drop the old one. The
    other controllers and all machines follow by themselves; none drops what machines need.
    So that also those come back that were away for all of it: `controller vouch` before.

    Example: pltfrms controller root --add example-root-2.pem
    """
    from pltfrms.cli.machine import rotating  # noqa: PLC0415 - heavy
    from pltfrms.cli.machine.joining import read_or_make_root  # noqa: PLC0415 - as above
    from pltfrms.drivers.identity.files import IdentityFile  # noqa: PLC0415 - as above

    if add and drop:
        raise UsageError("add the new one first, and drop the old one weeks later")
    if add:
        own = IdentityFile(places.state).read()
        passphrase = "" if add.exists() else _passphrase(passphrase_file, confirm=True)
        made = read_or_make_root(add, own.platform, passphrase)
        rotating.add_root(places.state, made.certificate)
    elif drop:
        rotating.drop_root(places.state, drop, despite=despite)
    views = rotating.roots_here(places.state)
    if as_json:
        write_json(views)
        return
    for each in views:
        drop = "  dropped as soon as no machine needs it" if each.dropped else ""
        write_line(f"{each.pin}{'  signs' if each.signs else ''}{drop}")


@click.command(cls=Command)
@click.argument("file", type=_FILE)
@click.option("--root-key", type=_FILE, required=True, metavar="FILE", help="Of the old root.")
@_passphrase_option
def vouch(file: Path, *, root_key: Path, passphrase_file: Path | None) -> None:
    """Have an old root say that a new one is as good.

    Writes that into the new root's file, from where `controller authority` takes it: machines
    that trust only the old root then believe controllers, get a certificate, and trust the new
    one. It is good for a year. Needs no controller.

    Example: pltfrms controller vouch example-root-2.pem --root-key example-root.pem
    """
    from pltfrms.cli.machine.joining import vouch_for_root  # noqa: PLC0415 - heavy

    vouch_for_root(file, root_key, _passphrase(passphrase_file, confirm=False))
    write_line(good("done: ") + f"{file} has it; make authorities by it from now on")


def _token(word: str, file: Path | None) -> str:
    """Return the token as it was said: as a word, in a file, or on standard input."""
    if bool(word) == bool(file):
        raise UsageError("say the token once: - for standard input, or --token-file FILE")
    if file:
        try:
            return file.read_text()
        except (OSError, ValueError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from error
    if word != "-":
        return word
    if sys.stdin.isatty():
        return str(click.prompt("Token", hide_input=True, err=True))
    return sys.stdin.readline()


def _controller(platform: "Platform", name: str) -> str:
    from pltfrms.model.network.topology import Role  # noqa: PLC0415 - few need it

    known = [each.name for each in platform.machines_of(Role.CONTROLLER)]
    if name in known:
        return name
    if not name and len(known) == 1:
        return known[0]
    raise UsageError(
        f"say which controller this machine is, with --machine: {', '.join(known)}"
    )


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    if file:
        found = file.read_text().strip("\r\n")
    else:
        found = click.prompt(
            "Passphrase of the root's key",
            hide_input=True,
            confirmation_prompt=confirm,
            err=True,
        )
    if not found:
        raise UsageError("the root's key needs a passphrase")
    return str(found)


def _say(done: "Joined", *, as_json: bool, more: str) -> None:
    if as_json:
        write_json(done)
    elif done.changed:
        write_line(good("done: ") + f"this is {done.machine} of {done.platform}; {more}")
    else:
        write_line(f"nothing to do: this is {done.machine} of {done.platform} already")
