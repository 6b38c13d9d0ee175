"""A controller's own certificate, which it signs itself: it never waits for another one."""

from collections.abc import Callable
from typing import Final

import structlog

from pltfrms.controller.asked.identities import Identities
from pltfrms.drivers.identity.files import IdentityFile, TrustedRoot
from pltfrms.drivers.identity.ports import Signer
from pltfrms.drivers.ports import Clock
from pltfrms.errors import PltfrmsError
from pltfrms.model.identity.lives import DAY_MS, WARN_MS
from pltfrms.model.identity.words import RootDrop, RootNote
from pltfrms.planner.identity.renewing import renewal_at_ms

SOON_SECONDS: Final = 1.0
"""Until it is known that all is well; then it looks rarely."""
RARELY_SECONDS: Final = 60.0

_log = structlog.get_logger(__name__)


class OwnIdentity:
    """Keeps the certificate of a controller young, and has what shows it follow the file."""

    def __init__(
        self,
        file: IdentityFile,
        signer: Signer,
        identities: Identities,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        """Call `on_change` whenever the file is another one, whoever wrote it."""
        self._file = file
        self._signer = signer
        self._identities = identities
        self._clock = clock
        self._on_change = on_change
        self._seen = file.changed_at()
        self._warned = False
        self._told: tuple[str, ...] = ()
        """Why roots that somebody wanted to be added or dropped here are not."""

    async def run(self) -> None:
        """Look at it until cancelled."""
        problem = ""
        while True:
            try:
                await self.look()
                seconds, now = RARELY_SECONDS, ""
            except (PltfrmsError, OSError) as error:
                seconds, now = SOON_SECONDS, str(error)
            if now and now != problem:
                _log.warning("own certificate", problem=now)
            problem = now
            await self._clock.sleep(seconds)

    async def look(self) -> None:
        """Make the certificate anew if it is time, and show what the file has.

        Raises:
            PltfrmsError: it is time, and it cannot be made.
            OSError: it cannot be written.
        """
        own, now_ms = self._file.read(), self._clock.unix_ms()
        if own.roots != self._signer.roots:
            self._signer.trust(own.roots)
        public_key = self._signer.public_key_of(own.request)
        await self._identities.adopt(own.machine, public_key)
        self._warn(now_ms)
        # One that is not good yet was made by a clock that was wrong.
        due = now_ms >= renewal_at_ms(own.life, own.machine) or not own.life.holds(now_ms)
        due = due or not self._identities.signs(self._file.issuer())
        # Machines may trust no other, once one root takes the place of another.
        due = due or not self._file.is_signed_with(self._signer.certificate)
        key = self._identities.known_key(own.machine)
        if due and self._signer.life and key and key.public_key == public_key:
            made = self._signer.issue(own.request, own.machine, key.joins, controller=True)
            self._file.renew(made, now_ms)
            _log.info("own certificate renewed", until_ms=made.not_after_ms)
        self._follow()
        if key and key.public_key == public_key:  # else another machine has its name now
            await self._identities.note_signing(own.machine)
            await self._agree()
            self._follow()

    def _follow(self) -> None:
        if (changed_at := self._file.changed_at()) != self._seen:
            self._on_change()
            self._seen = changed_at

    async def _agree(self) -> None:
        """Trust the roots that all controllers trust, and have them trust those of here."""
        before = self._file.roots()
        kept = {self._signer.pin_of_root(each.certificate): each for each in before}
        agreed = await self._identities.agree(
            [
                RootNote(pin=pin, certificate=e.certificate, since_ms=e.since_ms, drop=e.drop)
                for pin, e in kept.items()
            ]
        )
        for why in agreed.why_not if agreed.why_not != self._told else ():
            _log.warning("roots", problem=why)
        self._told = agreed.why_not
        after = tuple(
            TrustedRoot(
                since_ms=each.since_ms,
                certificate=each.certificate,
                drop=kept[each.pin].drop if each.pin in kept else RootDrop.NO,
            )
            for each in agreed.trusted
        )
        if after != before and self._file.trust(after, before):
            self._signer.trust(self._file.read().roots)

    def _warn(self, now_ms: int) -> None:
        """Say in time that what signs certificates ends."""
        life = self._signer.life
        ends = life is not None and now_ms >= life.not_after_ms - WARN_MS
        if life and ends and not self._warned:
            _log.warning(
                "what this controller signs certificates with ends soon; make it new with: "
                "pltfrms controller authority",
                days=(life.not_after_ms - now_ms) // DAY_MS,
            )
        self._warned = ends
