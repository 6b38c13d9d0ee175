"""What this machine's identity makes of its conversations: plain ones without, TLS with it."""

import functools
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from pltfrms.agent.control.certificate import Certificate, Certifiers
from pltfrms.drivers.aside import SMALL, Forked
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.controlplane.agent_client import HttpControlPlane
from pltfrms.drivers.controlplane.ports import ControlPlane
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.tls import client_context, load_identity, server_context
from pltfrms.drivers.kept_http import TlsEnd
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.identity.words import (
    Certified,
    NonceReply,
    RenewalAsk,
    ReturnAsk,
    machine_server_name,
)
from pltfrms.model.messages.api import Heartbeat, HeartbeatReply
from pltfrms.model.network.topology import Machine, Platform, controller_url
from pltfrms.model.running.plan import Target

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversations:
    """How this machine speaks with others."""

    control_plane: ControlPlane
    certificate: Certificate | None = None
    glass: ssl.SSLContext | None = None
    """What the looking glass answers with; None: plainly."""


def conversations(
    file: IdentityFile, platform: Platform, controllers: Sequence[Machine]
) -> Conversations:
    """Return how this machine speaks with others; `controllers` nearest first.

    Whoever has an identity never speaks plainly again: if it cannot be used, the machine
    speaks with nobody, and goes on as it is.
    """
    if not file.there:
        urls = [controller_url(platform, each) for each in controllers]
        return Conversations(control_plane=HttpControlPlane(urls))
    try:
        return _by_tls(file, platform, controllers)
    except UsageError as error:
        mute = _Mute(str(error))
        return Conversations(
            control_plane=mute,
            certificate=_certificate(file, mute, mute, ()),
            glass=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        )


def _by_tls(
    file: IdentityFile, platform: Platform, controllers: Sequence[Machine]
) -> Conversations:
    shown, hidden = client_context(file), client_context(file, stranger=True)
    glass = server_context(
        file, lambda why: _log.warning("certificate refused", why=why), required=True
    )
    known = _control_plane(platform, controllers, shown)
    stranger = _control_plane(platform, controllers, hidden)
    certificate = _certificate(file, known, stranger, (shown, glass))
    return Conversations(control_plane=known, certificate=certificate, glass=glass)


def _certificate(
    file: IdentityFile,
    known: Certifiers,
    stranger: Certifiers,
    shown: tuple[ssl.SSLContext, ...],
) -> Certificate:
    def follow() -> None:
        for context in shown:
            load_identity(context, file)

    return Certificate(file, SystemClock(), known, stranger, _signed, follow)


class _Mute:
    """Controllers of a machine that cannot show who it is."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def heartbeat(self, heartbeat: Heartbeat) -> HeartbeatReply:
        """Say why not."""
        raise UnavailableError(f"nothing is said of {heartbeat.status.machine}: {self._why}")

    async def target(self, current: Target, after: int, wait_ms: int) -> Target | None:
        """Say why not."""
        about = f"{current.machine} asks for nothing newer than {after} in {wait_ms} ms"
        raise UnavailableError(f"{about}: {self._why}")

    async def renew(self, ask: RenewalAsk) -> Certified:
        """Say why not."""
        raise UnavailableError(f"{ask.machine}: {self._why}")

    async def nonce(self, machine: str) -> NonceReply:
        """Say why not."""
        raise UnavailableError(f"{machine}: {self._why}")

    async def give_back(self, ask: ReturnAsk) -> Certified:
        """Say why not."""
        raise UnavailableError(f"{ask.machine}: {self._why}")

    async def close(self) -> None:
        """Keep nothing."""


def _control_plane(
    platform: Platform, controllers: Sequence[Machine], context: ssl.SSLContext
) -> HttpControlPlane:
    ends = {
        controller_url(platform, each, secure=True): TlsEnd(
            context, machine_server_name(platform.name, each.name)
        )
        for each in controllers
    }
    return HttpControlPlane(list(ends), ends)


async def _signed(key: str, text: str) -> str:
    """Sign in a copy of us: what that imports would stay with us for good."""
    return await Forked().run(SMALL + 1, functools.partial(_sign, key, text))


def _sign(key: str, text: str) -> str:
    from pltfrms.drivers.identity.keys import sign_text  # noqa: PLC0415 - see `_signed`

    return sign_text(key, text)
