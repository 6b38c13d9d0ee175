"""The agent's client of the controllers' HTTP API (`model.messages.api`).

Any controller can answer. The client asks the one that answered last, else the next.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

from pltfrms import codec
from pltfrms.drivers.controlplane.asking import (
    CONNECT_SECONDS,
    LONG_POLL_MARGIN_SECONDS,
    Attempts,
    ControllerAnswer,
    Request,
    base_url,
    not_understood,
    said_of,
    socket_of,
)
from pltfrms.drivers.failover import Failover, SilentError
from pltfrms.drivers.kept_http import HttpQuestion, KeptHttp, TlsEnd
from pltfrms.errors import (
    LaterError,
    PltfrmsError,
    UnavailableError,
    UsageError,
    VersionError,
)
from pltfrms.model.identity.words import (
    Certified,
    NonceReply,
    RenewalAsk,
    ReturnAsk,
    TokenAsk,
)
from pltfrms.model.messages.api import Heartbeat, HeartbeatReply, LeasesAsk, LeasesReply
from pltfrms.model.running.plan import Target, TargetNews
from pltfrms.model.running.vantage import VantageReply, VantageReport

_T = TypeVar("_T")

_HEARTBEAT_SECONDS, _HEARTBEAT_SECONDS_MAX = 1.5, 6.0
"""How long a controller may take to answer a heartbeat: so long that one that hangs is passed
over soon; and, where no other answers, longer each time: who gives up what is being worked on,
to ask it again, makes two works of one."""
_CERTIFICATE_SECONDS = 5.0
_REPORT_SECONDS = 3.0
_LEASES_SECONDS = 0.4
"""To end leases: an instance waits for that before it starts anew, for a second at most, and
the nearest controller may have ended with it. To ask a second one costs nothing."""
VANTAGE_REPORTS = "/v1/vantage/reports"
"""Where vantage points tell what they have seen."""
_SHAKE_HANDS_SECONDS = 1.0
"""To connect by TLS: that is one way there and back more, and signatures."""
_HOME_AFTER_SECONDS = 30.0
"""An agent that had to go to a farther controller tries the nearest again this often."""


class HttpControlPlane:
    """`ports.ControlPlane` of an agent.

    Whatever a controller answers but a success means "ask the next one", and so does what
    this version does not understand; UnavailableError says what each of them said.
    """

    def __init__(
        self, urls: Sequence[str], tls: Mapping[str, TlsEnd] | None = None, *, key: str = ""
    ) -> None:
        """Take base URLs, nearest first; connects when first used.

        `tls` says who is expected at which of them; the others are asked plainly. Secrets are
        to be sealed to `key`.
        """
        self._key = key
        self._failover = Failover(
            urls, monotonic=time.monotonic, home_after_seconds=_HOME_AFTER_SECONDS
        )
        self._ends = tls or {}
        self._controllers = _connections(urls, self._ends)
        self._patience_seconds = _HEARTBEAT_SECONDS

    def use(self, urls: Sequence[str], tls: Mapping[str, TlsEnd] | None = None) -> None:
        """Ask these from now on; what is asked just now goes on.

        If they are others, who has shown a certificate shows it anew: perhaps who signed it is
        one that is gone.
        """
        ends = tls or {}
        if set(urls) != set(self._controllers) or ends != self._ends:
            for controller in self._controllers.values():
                controller.drop()
            self._controllers, self._ends = _connections(urls, ends), ends
        self._failover.use(urls)

    async def heartbeat(self, heartbeat: Heartbeat) -> HeartbeatReply:
        """Say that the machine lives.

        Raises:
            LaterError: a controller takes others first, and says when to come again.
            UnavailableError: no controller takes it.
        """
        request = Request(
            method="POST",
            path="/v1/heartbeats",
            body=codec.encode(heartbeat),
            answer_seconds=self._patience_seconds,
        )
        began = time.monotonic()
        try:
            reply = await self._ask(request, lambda reply: _decoded(HeartbeatReply, reply))
        except LaterError:
            raise
        except UnavailableError:
            if time.monotonic() - began >= self._patience_seconds:
                self._be_patient(2 * self._patience_seconds)
            raise
        self._be_patient(2 * (time.monotonic() - began))
        return reply

    def _be_patient(self, seconds: float) -> None:
        wanted = max(seconds, _HEARTBEAT_SECONDS)
        self._patience_seconds = min(wanted, _HEARTBEAT_SECONDS_MAX)

    async def target(self, current: Target, after: int, wait_ms: int) -> Target | None:
        """Return another target than `current`, of a newer generation than `after`.

        Waits up to `wait_ms` for it; else None. The platform travels only if it is another.

        Raises:
            VersionError: there is a newer one, which this version does not understand fully.
            UnavailableError: no controller answers.
        """
        request = Request(
            method="GET",
            path=f"/v1/targets/{quote(current.machine, safe='')}",
            parameters={
                "after": str(after),
                "wait_ms": str(wait_ms),
                "made_of": current.made_of,
                "platform": str(current.platform_revision),
                **({"key": self._key} if self._key else {}),
            },
            answer_seconds=wait_ms / 1000 + LONG_POLL_MARGIN_SECONDS,
        )
        return await self._ask(request, lambda reply: _target(reply, current))

    async def leases(self, ask: LeasesAsk) -> LeasesReply:
        """End leases of an instance that has ended, and return the others.

        UnavailableError: no controller does that.
        """
        request = Request(
            method="POST",
            path="/v1/leases",
            body=codec.encode(ask),
            answer_seconds=_LEASES_SECONDS,
        )
        return await self._ask(request, lambda reply: _decoded(LeasesReply, reply))

    async def report(self, report: VantageReport, token: str = "") -> VantageReply:
        """Tell every controller what a vantage point has seen, since none tells another.

        Returns what the nearest of those answers that do. Who shows no certificate may show a
        token. How controllers take reports changes nothing of whom else is asked.
        """
        request = Request(
            method="POST",
            path=VANTAGE_REPORTS,
            body=codec.encode(report),
            answer_seconds=_REPORT_SECONDS,
        )
        asking = (
            _heard_by(endpoint, controller, request, token)
            for endpoint, controller in self._controllers.items()
        )
        said = await asyncio.gather(*asking)
        good = [each for each in said if isinstance(each, VantageReply)]
        if good:
            return good[0]
        raise UnavailableError(f"no controller takes reports: {'; '.join(map(str, said))}")

    # ---- certificates ----------------------------------------------------------------------

    async def renew(self, ask: RenewalAsk) -> Certified:
        """Return a younger certificate for this machine; UnavailableError: nobody makes one."""
        return await self._certify("renewal", codec.encode(ask), Certified)

    async def nonce(self, machine: str) -> NonceReply:
        """Return what this machine is to sign; UnavailableError: no controller answers."""
        body = codec.encode(TokenAsk(machine=machine))
        return await self._certify("nonce", body, NonceReply)

    async def give_back(self, ask: ReturnAsk) -> Certified:
        """Return a certificate for who signs with the recorded key; UnavailableError: none."""
        return await self._certify("return", codec.encode(ask), Certified)

    async def _certify(self, what: str, body: bytes, kind: type[_T]) -> _T:
        request = Request(
            method="POST",
            path=f"/v1/identity/{what}",
            body=body,
            answer_seconds=_CERTIFICATE_SECONDS,
        )
        return await self._ask(request, lambda reply: _decoded(kind, reply))

    async def close(self) -> None:
        """Release connections."""
        for controller in self._controllers.values():
            await controller.close()

    async def _ask(self, request: Request, read: Callable[[ControllerAnswer], _T]) -> _T:
        attempts, controllers = Attempts(self._failover, request), self._controllers
        for endpoint in self._failover.order():
            try:
                reply = await _reply(endpoint, controllers[endpoint], request)
                if reply.good:
                    answer = read(reply)
                    self._failover.answered(endpoint)
                    return answer
                said = said_of(reply.where, reply.status, reply.content)
                attempts.refused(endpoint, said)
                if isinstance(said, LaterError):
                    raise said  # the others, who are asked next time, have as much to do
            except SilentError as error:
                attempts.broke(endpoint, str(error), sent=error.sent)
            except VersionError as error:
                attempts.refused(endpoint, error)
        raise attempts.failure()


async def _heard_by(
    endpoint: str, controller: KeptHttp, request: Request, token: str
) -> VantageReply | PltfrmsError:
    try:
        reply = await _reply(endpoint, controller, request, token)
        if reply.good:
            return _decoded(VantageReply, reply)
        return said_of(reply.where, reply.status, reply.content)
    except SilentError as error:
        return UnavailableError(f"{endpoint}: {error}")
    except VersionError as error:
        return error


async def _reply(
    endpoint: str, controller: KeptHttp, request: Request, token: str = ""
) -> ControllerAnswer:
    question = HttpQuestion(request.method, request.target, request.body or b"", token=token)
    seconds = request.answer_seconds  # and as long again for what may be a long target
    status, content = await controller.ask(question, seconds, seconds)
    return ControllerAnswer(
        where=f"{base_url(endpoint)}{request.path}", status=status, content=content
    )


def _connections(urls: Sequence[str], ends: Mapping[str, TlsEnd]) -> dict[str, KeptHttp]:
    return {
        url: KeptHttp(
            base_url(url),
            _SHAKE_HANDS_SECONDS if url in ends else CONNECT_SECONDS,
            socket=socket_of(url),
            tls=ends.get(url),
        )
        for url in urls
    }


# ---- answers -------------------------------------------------------------------------------


def _target(reply: ControllerAnswer, current: Target) -> Target | None:
    """Return a target; who understands a part of it only would do something else.

    A controller of a release that sent whole targets only says the same as news.
    """
    if reply.status == HTTPStatus.NO_CONTENT:
        return None
    target = _decoded(TargetNews, reply, codec.decode_fully).target(current)
    if target is None:
        wrong = UsageError("a target without its platform, which is not the one here")
        raise not_understood(reply.where, wrong)
    return target


def _decoded(
    kind: type[_T],
    reply: ControllerAnswer,
    decode: Callable[[type[_T], bytes], _T] = codec.decode,
) -> _T:
    try:
        return decode(kind, reply.content)
    except UsageError as error:
        raise not_understood(reply.where, error) from error
