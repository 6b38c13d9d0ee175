"""Keep this machine's certificate young. No traffic depends on what happens here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from pltfrms.drivers.identity.files import Identity, IdentityFile
from pltfrms.drivers.ports import Clock
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.identity.lives import EARLY_MS, Life
from pltfrms.model.identity.words import (
    Certified,
    NonceReply,
    RenewalAsk,
    ReturnAsk,
    return_text,
)
from pltfrms.planner.identity.renewing import renewal_at_ms, why_clock_is_wrong

LOOK_SECONDS: Final = 60.0
_log = structlog.get_logger()


class Certifiers(Protocol):
    """Controllers, as who needs a certificate sees them. All raise UnavailableError."""

    async def renew(self, ask: RenewalAsk) -> Certified:
        """Return a younger certificate to who shows a good one."""
        ...

    async def nonce(self, machine: str) -> NonceReply:
        """Return what is to be signed."""
        ...

    async def give_back(self, ask: ReturnAsk) -> Certified:
        """Return a certificate to who has signed it with the recorded key."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Makers:
    """Who makes certificates."""

    known: Certifiers
    """Asked while the certificate is good."""
    stranger: Certifiers
    """Asked afterwards: the certificate is not shown to it."""
    signs: Callable[[str], bool] = lambda _issuer: True
    """Whether an authority is still one. What another one has signed is renewed at once."""
    name: Callable[[], str] = lambda: ""
    """Which name it is to have by now, or is renewed at once; empty: its own alone."""


class Certificate:
    """Renews the certificate of this machine, from a third of its life on."""

    def __init__(
        self,
        file: IdentityFile,
        clock: Clock,
        makers: Makers,
        sign: Callable[[str, str], Awaitable[str]],
        on_change: Callable[[], None],
    ) -> None:
        """Ask `makers`; `sign` signs with a key (PEM) a text.

        `on_change` is called when the file is another one, whoever wrote it.
        """
        self._file = file
        self._clock = clock
        self._makers = makers
        self._sign = sign
        self._on_change = on_change
        self._seen = file.changed_at()

    async def look(self) -> None:
        """Renew the certificate if it is time.

        Raises:
            UnavailableError: it is time, and no controller makes one; or the clock is wrong.
            UsageError: the identity cannot be read.
            OSError: it cannot be written.
        """
        self._follow()
        own, now_ms = self._file.read(), self._clock.unix_ms()
        # A controller made it then, by its own clock.
        wrong = why_clock_is_wrong(now_ms, own.not_before_ms + EARLY_MS)
        if wrong:
            raise UnavailableError(wrong)
        young = now_ms < renewal_at_ms(own.life, own.machine)
        if young and self._makers.signs(self._file.issuer()) and self._fits():
            return
        good = own.life.holds(now_ms)
        made = await (self._renewed(own) if good else self._returned(own))
        life = Life(not_before_ms=made.not_before_ms, not_after_ms=made.not_after_ms)
        if good and not life.holds(now_ms):
            raise UnavailableError(
                "a controller made a certificate that is not good now, by its clock; the one "
                "that is here stays"
            )
        self._file.renew(made, now_ms)
        _log.info("certificate renewed", until_ms=made.not_after_ms)
        self._follow()

    def _fits(self) -> bool:
        name = self._makers.name()
        return not name or self._file.says(name)

    async def _renewed(self, own: Identity) -> Certified:
        return await self._makers.known.renew(
            RenewalAsk(machine=own.machine, request=own.request)
        )

    async def _returned(self, own: Identity) -> Certified:
        """Show that the recorded key is here: TLS accepts no expired certificate."""
        nonce = (await self._makers.stranger.nonce(own.machine)).nonce
        signature = await self._sign(self._file.key(), return_text(own.machine, nonce))
        return await self._makers.stranger.give_back(
            ReturnAsk(
                machine=own.machine, nonce=nonce, request=own.request, signature=signature
            )
        )

    @property
    def ends_ms(self) -> int | None:
        """When the certificate ends, as Unix time; None: it cannot be read."""
        try:
            return self._file.read().not_after_ms
        except UsageError:
            return None

    def _follow(self) -> None:
        if (changed_at := self._file.changed_at()) != self._seen:
            self._on_change()
            self._seen = changed_at
