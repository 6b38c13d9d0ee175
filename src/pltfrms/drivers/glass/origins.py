"""Ask a machine of ours what RPKI says of prefixes and origins, through its looking glass."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from pltfrms.drivers.bird.control_socket import BirdReply, remote_connection
from pltfrms.drivers.glass.client import GlassMachine
from pltfrms.drivers.kept_http import TlsEnd
from pltfrms.errors import UnavailableError
from pltfrms.model.network.peering import OriginQuestion, Validity
from pltfrms.model.network.topology import GLASS_PORT

AT_ONCE: Final = 100
"""Questions of one conversation: each is a connection to BIRD over there."""
_ANSWER_SECONDS = 3.0
_EVALUATED = 23
_ANSWER = re.compile(r"\(enum \w+\)([0-2])")
_VALIDITIES = (Validity.NOT_FOUND, Validity.VALID, Validity.INVALID)
"""In the order of BIRD's numbers."""
_EMPTY = re.compile(r"0 of 0 routes .*")


class Origins(Protocol):
    """Somebody who can ask machines what RPKI says."""

    async def validities(
        self, place: GlassMachine, questions: Sequence[OriginQuestion]
    ) -> Mapping[OriginQuestion, Validity]:
        """Return an answer to each question.

        Raises:
            UnavailableError: no answer, or that machine has no ROAs, and why.
        """
        ...


class OriginClient:
    """`Origins` over the network: the ROA tables of the edges' BIRDs."""

    def __init__(
        self,
        port: int = GLASS_PORT,
        seconds: float = _ANSWER_SECONDS,
        tls: Callable[[str], TlsEnd] | None = None,
    ) -> None:
        """Give a hundred questions `seconds`; nothing is opened.

        `tls` says whom to expect as a machine; without it they are asked plainly.
        """
        self._port = port
        self._seconds = seconds
        self._tls = tls

    async def validities(
        self, place: GlassMachine, questions: Sequence[OriginQuestion]
    ) -> Mapping[OriginQuestion, Validity]:
        """Return an answer to each question; see `Origins.validities`."""
        families = {question.prefix.version for question in questions}
        for reply in await self._ask(
            place, [f"show route table rpki{family} count" for family in sorted(families)]
        ):
            if reply.code or any(_EMPTY.fullmatch(text) for _, text in reply.lines):
                why = reply.last if reply.code else "no RPKI cache has told it anything"
                raise UnavailableError(f"{place.machine} has no ROAs: {why}")
        found: dict[OriginQuestion, Validity] = {}
        for start in range(0, len(questions), AT_ONCE):
            some = questions[start : start + AT_ONCE]
            replies = await self._ask(place, [_command(question) for question in some])
            for question, reply in zip(some, replies, strict=True):
                found[question] = _validity(reply, place.machine)
        return found

    async def _ask(self, place: GlassMachine, commands: Sequence[str]) -> tuple[BirdReply, ...]:
        tls = self._tls(place.machine) if self._tls else None
        async with remote_connection(place.address, self._port, self._seconds, tls) as bird:
            return await bird.ask_all(commands)


def _command(question: OriginQuestion) -> str:
    table = f"rpki{question.prefix.version}"
    return f"eval roa_check({table}, {question.prefix}, {question.asn})"


def _validity(reply: BirdReply, machine: str) -> Validity:
    answer = _ANSWER.fullmatch(reply.last)
    if reply.code != _EVALUATED or answer is None:
        raise UnavailableError(f"BIRD on {machine} says: {reply.code} {reply.last}")
    return _VALIDITIES[int(answer[1])]
