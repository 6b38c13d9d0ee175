"""`login` and `logout`: show who you are with your SSH key, for a working day."""

import datetime as dt
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from pltfrms.cli.shared.connect import connect, controller_endpoints, place_of
from pltfrms.cli.shared.contexts import KeptLogin, drop_login, keep_login
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import echo, good, write_json
from pltfrms.cli.shared.signing import SSH, public_key
from pltfrms.codec import decode
from pltfrms.errors import UsageError
from pltfrms.model.messages.logins import (
    LOGIN_NAMESPACE,
    LOGIN_PURPOSE,
    LoginAsk,
    LoginChallenge,
    LoginReply,
    LoginText,
    key_digest,
)


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def login(settings: Settings, *, as_json: bool) -> None:
    """Show who you are, with your SSH key.

    Signs what a controller says with the key of an operator of the platform: that of --key,
    else the first one of ~/.ssh or of your SSH agent; hardware keys work. For eight hours, what
    you do is done in your name, and as your role allows.

    Example: pltfrms login --context prod
    """
    from pltfrms.drivers.operators.signatures import sign  # noqa: PLC0415 - asyncio: 20 ms

    client = connect(settings, known=False)
    asked = client.get("/v1/login", {}, LoginChallenge)
    text = decode(LoginText, asked.text)
    if text.purpose != LOGIN_PURPOSE:
        raise UsageError("the controller has something else signed than a login: refused")
    with _login_key(settings, asked.keys, text.platform) as (key, public):
        signature = sign(asked.text, key, LOGIN_NAMESPACE)
    ask = LoginAsk(text=asked.text, seal=asked.seal, key=public, signature=signature)
    reply = client.post("/v1/login", ask, LoginReply)
    kept = KeptLogin(
        platform=reply.platform,
        operator=reply.operator,
        token=reply.token,
        expires_ms=reply.expires_ms,
    )
    keep_login(place_of(settings), kept)
    if any(each.startswith("http://") for each in controller_endpoints(settings)):
        echo("warning: not encrypted: who listens on the way can do it, too", err=True)
    if as_json:
        write_json(kept)
        return
    until = dt.datetime.fromtimestamp(kept.expires_ms / 1000, tz=dt.UTC).astimezone()
    role = f", {reply.role}" if reply.role else ""
    who = f"{reply.operator}{role} of {reply.platform}"
    echo(good(f"logged in as {who} until {until:%Y-%m-%d %H:%M}"))


@click.command(cls=Command)
@pass_settings
def logout(settings: Settings) -> None:
    """Forget who you are.

    Example: pltfrms logout
    """
    there = drop_login(place_of(settings))
    echo(good("logged out") if there else "nobody was logged in here")


@contextmanager
def _login_key(
    settings: Settings, digests: Collection[str], platform: str
) -> Iterator[tuple[Path, str]]:
    """Yield a key that may log in (`key_digest`), as a file and as text.

    Of one that only an agent has, the public half is in a file for so long.

    Raises:
        UsageError: no such key is here, or the one that is named is none.
    """
    for path in _public_files(settings):
        public = public_key(path.read_text(errors="replace"))
        if key_digest(public) in digests:
            private = path.with_suffix("")
            yield private if private.exists() else path, public
            return
    for line in () if settings.key else _of_agent():
        if key_digest(public_key(line)) in digests:
            with TemporaryDirectory(prefix="pltfrms-") as directory:
                path = Path(directory, "key.pub")
                path.write_text(f"{line}\n")
                yield path, public_key(line)
            return
    where = settings.key or f"{SSH} and of the SSH agent"
    raise UsageError(f"no key of {where} is one of an operator of {platform}: --key names one")


def _public_files(settings: Settings) -> list[Path]:
    if not settings.key:
        return sorted(SSH.expanduser().glob("*.pub"))
    path = Path(settings.key).expanduser()
    public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    if not public.exists():
        raise UsageError(f"{public} is not there: the public half of the key is needed")
    return [public]


def _of_agent() -> list[str]:
    """Return the public keys that an agent has; none without one."""
    try:
        done = subprocess.run(
            ("ssh-add", "-L"), capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
