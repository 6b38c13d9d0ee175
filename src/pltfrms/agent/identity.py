"""What this machine's identity makes of its conversations: plain ones without, TLS with it."""

import functools
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from pltfrms.agent.control.certificate import Certificate, Makers
from pltfrms.drivers.aside import SMALL, Forked
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.controlplane.agent_client import HttpControlPlane
from pltfrms.drivers.controlplane.ports import ControlPlane
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.tls import (
    client_context,
    load_identity,
    server_context,
    trust_roots,
)
from pltfrms.drivers.kept_http import TlsEnd
from pltfrms.drivers.log import SpareLog
from pltfrms.drivers.sealing import NodeKey
from pltfrms.drivers.told import is_controller
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.identity.words import (
    Certified,
    NonceReply,
    RenewalAsk,
    ReturnAsk,
    ShownCertificate,
    controllers_server_name,
    machine_server_name,
)
from pltfrms.model.messages.api import Heartbeat, HeartbeatReply, LeasesAsk, LeasesReply
from pltfrms.model.network.controllers import controllers_for
from pltfrms.model.network.topology import Platform, controller_url
from pltfrms.model.running.plan import Target
from pltfrms.model.running.vantage import VantageReply, VantageReport
from pltfrms.planner.identity.access import why_unsigned

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversations:
    """How this machine speaks with others."""

    control_plane: ControlPlane
    certificate: Certificate | None = None
    glass: ssl.SSLContext | None = None
    """What the looking glass answers with; None: plainly."""
    metrics: ssl.SSLContext | None = None
    """Likewise, to who shows no certificate."""
    follow: Callable[[Platform], None] = lambda _platform: None
    """Ask the controllers of this platform from now on."""


def controller_urls(platform: Platform, machine: str) -> list[str]:
    """Return where a machine asks them plainly, in this order."""
    return [controller_url(platform, each) for each in controllers_for(platform, machine)]


def conversations(
    file: IdentityFile, platform: Platform, machine: str, told: Platform | None = None
) -> Conversations:
    """Return how a machine speaks with others.

    `told` is what an operator has written down since it last heard of the platform: until it
    hears again, controllers of either are believed.

    Whoever has an identity never speaks plainly again: if it cannot be used, the machine
    speaks with nobody, and goes on as it is.
    """
    platforms = [each for each in (platform, told) if each]
    if not file.there:
        urls = [url for each in platforms for url in controller_urls(each, machine)]
        plain = HttpControlPlane(urls, key=NodeKey(file.directory.parent).public)
        return Conversations(
            control_plane=plain, follow=lambda newer: plain.use(controller_urls(newer, machine))
        )
    try:
        return _by_tls(file, platforms, machine)
    except UsageError as error:
        mute = _Mute(str(error))
        return Conversations(
            control_plane=mute,
            certificate=_certificate(file, Makers(known=mute, stranger=mute), ()),
            glass=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
            metrics=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        )


def _by_tls(file: IdentityFile, platforms: Sequence[Platform], machine: str) -> Conversations:
    latest = _Latest(platforms, machine)
    shown = client_context(file, latest.doubt)
    hidden = client_context(file, latest.doubt, stranger=True)
    said = SpareLog(_log.warning, time.monotonic)

    def refused(why: str) -> None:
        said.say("certificate refused", why, why=why)

    glass = server_context(file, refused, required=True)
    metrics = server_context(file, refused)
    ends = _ends(platforms, machine, shown)
    key = NodeKey(file.directory.parent).public
    known = HttpControlPlane(list(ends), ends, key=key)
    ends = _ends(platforms, machine, hidden)
    stranger = HttpControlPlane(list(ends), ends)

    def follow(newer: Platform) -> None:
        latest.platforms = (newer,)
        for plane, context in ((known, shown), (stranger, hidden)):
            ends = _ends((newer,), machine, context)
            plane.use(list(ends), ends)

    makers = Makers(known=known, stranger=stranger, signs=latest.signs, name=latest.name)
    certificate = _certificate(file, makers, (shown, glass, metrics), (hidden,))
    return Conversations(
        control_plane=known,
        certificate=certificate,
        glass=glass,
        metrics=metrics,
        follow=follow,
    )


def _certificate(
    file: IdentityFile,
    makers: Makers,
    shown: tuple[ssl.SSLContext, ...],
    hidden: tuple[ssl.SSLContext, ...] = (),
) -> Certificate:
    def follow() -> None:
        for context in shown:
            load_identity(context, file)
        for context in hidden:
            trust_roots(context, file)

    return Certificate(file, SystemClock(), makers, _signed, follow)


class _Latest:
    """The platform as this machine knows it, for as long as it hears of no other."""

    def __init__(self, platforms: Sequence[Platform], machine: str) -> None:
        self.platforms = platforms
        self._machine = machine

    def doubt(self, shown: ShownCertificate) -> str:
        doubts = [why_unsigned(shown.issuer, each) for each in self.platforms]
        return doubts[0] if all(doubts) else ""

    def signs(self, issuer: str) -> bool:
        return not all(why_unsigned(issuer, each) for each in self.platforms)

    def name(self) -> str:
        """Return by which name whoever has not met a controller yet expects this one."""
        known = self.platforms[0]
        return (
            controllers_server_name(known.name) if is_controller(known, self._machine) else ""
        )


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

    async def report(self, report: VantageReport, token: str = "") -> VantageReply:
        """Say why not."""
        about = f"{report.vantage}{' and its token' if token else ''}"
        raise UnavailableError(f"{about}: {self._why}")

    async def leases(self, ask: LeasesAsk) -> LeasesReply:
        """Say why not."""
        raise UnavailableError(f"{ask.machine}: {self._why}")

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


def _ends(
    platforms: Sequence[Platform], machine: str, context: ssl.SSLContext
) -> dict[str, TlsEnd]:
    return {
        controller_url(platform, each, secure=True): TlsEnd(
            context, machine_server_name(platform.name, each.name)
        )
        for platform in platforms
        for each in controllers_for(platform, machine)
    }


async def _signed(key: str, text: str) -> str:
    """Sign in a copy of us: what that imports would stay with us for good."""
    return await Forked().run(SMALL + 1, functools.partial(_sign, key, text))


def _sign(key: str, text: str) -> str:
    from pltfrms.drivers.identity.keys import sign_text  # noqa: PLC0415 - see `_signed`

    return sign_text(key, text)
