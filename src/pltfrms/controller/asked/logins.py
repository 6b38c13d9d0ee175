"""Operators log in with the SSH keys that the platform names, and show a token afterwards.

/pltfrms-identity/logins            LoginSecret, of all controllers
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

from pltfrms.codec import decode_fully, encode
from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.records.auditing import Asked
from pltfrms.controller.records.state import LOGINS_KEY
from pltfrms.drivers.operators.ports import Signatures
from pltfrms.drivers.store.ports import Condition, Put
from pltfrms.errors import ForbiddenError, UnavailableError, UsageError
from pltfrms.model.messages.logins import (
    CHALLENGE_MS,
    LOGIN_MS,
    LOGIN_NAMESPACE,
    LOGIN_PURPOSE,
    LoginAsk,
    LoginChallenge,
    LoginClaim,
    LoginReply,
    LoginSecret,
    LoginText,
    key_digest,
)
from pltfrms.model.network.topology import Operator, Platform
from pltfrms.planner.identity.roles import Known

_TOKEN: Final = "token"  # noqa: S105 - what is sealed, not a secret
_CHALLENGE: Final = "challenge"
_LOOK_SECONDS: Final = 1.0
"""Strangers with tokens of their own making have the store asked so often at most."""
_AGAIN: Final = "log in again: pltfrms login"


class Logins:
    """Who has shown which key. All raise UnavailableError if the store is needed, and away."""

    def __init__(self, operations: Operations, signatures: Signatures) -> None:
        """Know nobody's token until the secret is known."""
        controller = operations.controller
        self._signatures = signatures
        self._store = controller.store
        self._clock = controller.clock
        self._view = controller.view
        self._insisting = controller.insisting
        self._records = operations.records
        self._secret = b""
        self._looked_at = -_LOOK_SECONDS

    async def challenge(self) -> LoginChallenge:
        """Return what an operator is to sign; ForbiddenError if the platform names none."""
        platform = self.platform()
        if not platform.operators:
            raise ForbiddenError(f"{platform.name} names no operators, so nobody logs in")
        word = LoginText(
            purpose=LOGIN_PURPOSE,
            platform=platform.name,
            nonce=self._signatures.new_secret(),
            expires_ms=self._clock.unix_ms() + CHALLENGE_MS,
        )
        text = encode(word).decode()
        secret = self._secret or await self._made()
        keys = (key_digest(key) for operator in platform.operators for key in operator.keys)
        return LoginChallenge(text=text, seal=_seal(secret, _CHALLENGE, text), keys=tuple(keys))

    async def login(self, ask: LoginAsk, origin: str) -> LoginReply:
        """Return a token to who has signed what a controller said.

        Raises:
            ForbiddenError: it is not what a controller said just now, or no operator's key has
                signed it.
        """
        platform, now_ms = self.platform(), self._clock.unix_ms()
        seal = _seal(await self._read(), _CHALLENGE, ask.text)
        if not hmac.compare_digest(seal.encode(), ask.seal.encode()):
            raise ForbiddenError(f"no controller has asked to sign that; {_AGAIN}")
        if decode_fully(LoginText, ask.text).expires_ms <= now_ms:
            raise ForbiddenError(f"it was signed too late; {_AGAIN}")
        operator = _owner(platform.operators, key_digest(ask.key))
        if operator is None:
            raise ForbiddenError(f"that is not the key of an operator of {platform.name}")
        alone = (Operator(name=operator.name, keys=(ask.key,)),)
        try:
            await self._signatures.signer(ask.text, ask.signature, alone, LOGIN_NAMESPACE)
        except UsageError as error:
            raise ForbiddenError(str(error)) from error
        claim = LoginClaim(
            platform=platform.name,
            operator=operator.name,
            key=key_digest(ask.key),
            expires_ms=now_ms + LOGIN_MS,
        )
        await self._write_down(operator, claim, origin)
        return LoginReply(
            platform=platform.name,
            operator=operator.name,
            role=operator.role,
            token=_token(await self._read(), claim),
            expires_ms=claim.expires_ms,
        )

    async def who(self, token: str) -> Operator:
        """Return the operator who has a token, as the platform has him now.

        ForbiddenError if it is not good, or not any more: it has expired, or the platform does
        not name the operator or the key any more.
        """
        text, _, seal = token.partition(".")
        expected = _seal(await self._read(), _TOKEN, text)
        if not hmac.compare_digest(expected.encode(), seal.encode()):
            raise ForbiddenError(f"the token is not one of this platform; {_AGAIN}")
        claim = decode_fully(LoginClaim, urlsafe_b64decode(text))
        platform = self.platform()
        if claim.expires_ms <= self._clock.unix_ms():
            raise ForbiddenError(f"the login of {claim.operator} has ended; {_AGAIN}")
        operator = _owner(platform.operators, claim.key)
        if operator is None or operator.name != claim.operator:
            raise ForbiddenError(f"{claim.operator} is not an operator any more with that key")
        return operator

    def platform(self) -> Platform:
        """Return the platform as it is known now."""
        platform = self._view.platform
        if platform is None:
            raise UnavailableError("the store holds no platform yet; try again soon")
        return platform

    def now_ms(self) -> int:
        """Return the Unix time by which tokens expire."""
        return self._clock.unix_ms()

    # ---- the secret ------------------------------------------------------------------------

    async def seal(self, what: str, text: str, *, make: bool = False) -> str:
        """Return the seal of a text, of one kind; `make` the secret if there is none yet."""
        if make and not self._secret:
            await self._made()
        return _seal(await self._read(), what, text)

    async def _read(self) -> bytes:
        """Return the secret; ForbiddenError if there is none, so that nobody has logged in."""
        now = self._clock.monotonic()
        if not self._secret and now >= self._looked_at + _LOOK_SECONDS:
            self._looked_at = now
            listing = await self._store.list(LOGINS_KEY)
            for entry in listing.entries:
                if entry.key == LOGINS_KEY:
                    self._secret = decode_fully(LoginSecret, entry.value).secret.encode()
        if not self._secret:
            raise ForbiddenError(f"nobody has logged in here yet; {_AGAIN}")
        return self._secret

    async def _made(self) -> bytes:
        """Return the secret, which is made when it is needed first."""
        word = LoginSecret(secret=self._signatures.new_secret())
        absent = Condition(key=LOGINS_KEY, mod_revision=0)
        await self._store.commit([Put(key=LOGINS_KEY, value=encode(word))], (absent,))
        self._looked_at = -_LOOK_SECONDS
        return await self._read()  # ours, or that of a controller that was faster

    async def _write_down(self, operator: Operator, claim: LoginClaim, origin: str) -> None:
        line = f"{operator.name} with the key {claim.key[:16]}, for {LOGIN_MS // 3_600_000} h"
        asked = Asked(by=operator.name, proved=Known.LOGIN, origin=origin)
        await self.write_down("login", line, asked)

    async def write_down(self, what: str, line: str, asked: Asked) -> None:
        """Write a record of the audit; UnavailableError: nobody may rely on it."""

        async def attempt() -> int | None:
            sealed = await self._records.seal(what, (line,), asked)
            return await self._store.commit(sealed.writes, (sealed.condition,))

        await self._insisting.until_done(attempt)


def _token(secret: bytes, claim: LoginClaim) -> str:
    text = urlsafe_b64encode(encode(claim)).decode()
    return f"{text}.{_seal(secret, _TOKEN, text)}"


def _seal(secret: bytes, what: str, text: str) -> str:
    return hmac.new(secret, f"{what}\n{text}".encode(), hashlib.sha256).hexdigest()


def _owner(operators: Sequence[Operator], digest: str) -> Operator | None:
    return next(
        (each for each in operators for key in each.keys if key_digest(key) == digest), None
    )
