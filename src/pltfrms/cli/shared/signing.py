"""Signing as an operator, and asking for what a second one must approve."""

from collections.abc import Sequence
from pathlib import Path

from pltfrms.cli.shared.options import Settings
from pltfrms.cli.shared.output import echo, unix_ms
from pltfrms.codec import encode
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import UsageError
from pltfrms.model.messages.api import Change, InterventionChange
from pltfrms.model.messages.requests import RequestReply, Signed, Wanted
from pltfrms.model.network.topology import Operator

EXIT_WAITS = 3
"""Nothing is changed yet: changes are pending."""
_OPEN_MS = 12 * 3600 * 1000
SSH = Path("~/.ssh")


def ask_second(
    settings: Settings,
    client: OperatorClient,
    *,
    change: Change | None = None,
    intervention: InterventionChange | None = None,
) -> RequestReply:
    """Ask for a change that a second operator must approve within twelve hours.

    Raises:
        UsageError: no key of an operator is here.
        ConflictError: a guard forbids it.
    """
    platform = client.snapshot().snapshot.platform
    wanted = Wanted(
        platform=platform.name,
        expires_ms=unix_ms() + _OPEN_MS,
        change=change,
        intervention=intervention,
    )
    text = encode(wanted).decode()
    key = key_of(settings, platform.operators)
    return client.request(Signed(text=text, signature=signed(text, key)))


def key_of(settings: Settings, operators: Sequence[Operator]) -> Path:
    """Return the key to sign with: the one that is named, or the first that is known.

    UsageError if there is none.
    """
    if settings.key:
        return Path(settings.key).expanduser()
    known = {key for operator in operators for key in operator.keys}
    for public in sorted(SSH.expanduser().glob("*.pub")):
        if public_key(public.read_text(errors="replace")) in known:
            private = public.with_suffix("")
            return private if private.exists() else public
    names = ", ".join(operator.name for operator in operators) or "none"
    raise UsageError(
        f"two people are needed, and no key in {SSH} is one of the operators' ({names}); "
        "name yours with --key"
    )


def signed(text: str, key: Path) -> str:
    """Return the signature of a text; UsageError if the key cannot sign."""
    from pltfrms.drivers.operators.signatures import sign  # noqa: PLC0415 - asyncio: 20 ms

    return sign(text, key)


def public_key(line: str) -> str:
    """Return the public key of a line of a .pub file, without its comment."""
    return " ".join(line.split()[:2])


def say_waiting(reply: RequestReply, why: str) -> None:
    """Say that nothing is done yet, and how another operator approves it."""
    request = reply.request
    echo(f"not done yet: a second operator must approve it, because {why}")
    echo(f"asked for by {request.by}; another operator: {approving(request.id)}")


def approving(request: str) -> str:
    """Return the command that approves a request."""
    return f"pltfrms request approve {request}"
