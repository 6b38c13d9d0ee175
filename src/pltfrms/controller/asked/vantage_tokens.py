"""Tokens of vantage points outside: they may report what they see, and nothing else.

They are sealed as those of operators are, so that every controller knows them, and good only
while the platform names the vantage point. The first one is to be used within an hour; who
reports with it gets one for a week, and a younger one each day.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from pltfrms.codec import decode_fully, encode
from pltfrms.controller.asked.logins import Logins
from pltfrms.controller.records.auditing import Asked
from pltfrms.errors import ForbiddenError, NotFoundError
from pltfrms.model.running.vantage import VantageToken

FIRST_MS: Final = 3_600_000
"""How long there is to begin with a token."""
KEPT_MS: Final = 7 * 24 * 3_600_000
_YOUNG_MS: Final = KEPT_MS - 24 * 3_600_000
"""With more than that left, a token is not renewed."""
_MARK: Final = "vantage"


@dataclass(frozen=True, slots=True, kw_only=True)
class VantageClaim:
    """What such a token says."""

    platform: str
    vantage: str
    expires_ms: int


def is_of_vantage(token: str) -> bool:
    """Return whether a token says that it is a vantage point's."""
    return token.startswith(f"{_MARK}.")


class VantageTokens:
    """Makes them, and knows them again."""

    def __init__(self, logins: Logins) -> None:
        """Seal with the secret of `logins`."""
        self._logins = logins

    async def make(self, vantage: str, asked: Asked) -> VantageToken:
        """Return the first token of a vantage point, and write down who asked for it.

        Raises:
            NotFoundError: the platform does not name it.
        """
        platform = self._logins.platform()
        if vantage not in platform.vantage.outside:
            raise NotFoundError(
                f"{platform.name} has no vantage point {vantage!r} outside: name it in "
                "platform.yaml, under vantage.outside"
            )
        made = await self._sealed(vantage, self._logins.now_ms() + FIRST_MS, fresh=True)
        await self._logins.write_down("vantage token", f"of {vantage}, for 1 h", asked)
        return made

    async def who(self, token: str) -> VantageClaim:
        """Return what a token says; ForbiddenError if it is not good, or not any more."""
        _, _, rest = token.partition(".")
        text, _, seal = rest.partition(".")
        expected = await self._logins.seal(_MARK, text)
        if not hmac.compare_digest(expected.encode(), seal.encode()):
            raise ForbiddenError("the token is not one of a vantage point of this platform")
        claim = decode_fully(VantageClaim, urlsafe_b64decode(text))
        if claim.expires_ms <= self._logins.now_ms():
            raise ForbiddenError(f"the token of {claim.vantage} has expired: {_again(claim)}")
        if claim.vantage not in self._logins.platform().vantage.outside:
            raise ForbiddenError(
                f"the platform names no vantage point {claim.vantage} any more"
            )
        return claim

    async def younger(self, claim: VantageClaim) -> str:
        """Return the token that takes the place of one; empty: it is young enough."""
        now_ms = self._logins.now_ms()
        if claim.expires_ms - now_ms > _YOUNG_MS:
            return ""
        return (await self._sealed(claim.vantage, now_ms + KEPT_MS)).token

    async def _sealed(
        self, vantage: str, until_ms: int, *, fresh: bool = False
    ) -> VantageToken:
        claim = VantageClaim(
            platform=self._logins.platform().name, vantage=vantage, expires_ms=until_ms
        )
        text = urlsafe_b64encode(encode(claim)).decode()
        seal = await self._logins.seal(_MARK, text, make=fresh)
        return VantageToken(
            vantage=vantage, token=f"{_MARK}.{text}.{seal}", expires_ms=until_ms
        )


def _again(claim: VantageClaim) -> str:
    return f"make another one: pltfrms vantage token {claim.vantage}"
