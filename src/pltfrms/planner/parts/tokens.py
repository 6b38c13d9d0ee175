"""By what instances are known that have shown the password of their part. Pure.

A token is made of the password, the service and the second at which it was asked for: every
controller knows it without being told, and with another password it is worth nothing.
"""

import hmac
from collections.abc import Iterable
from typing import Final

TOKEN_SECONDS: Final = 86_400
"""How old a token may be: who is told that it is not valid asks for another one."""
_DIGITS: Final = 12


def token_for(service: str, password: bytes, unix_seconds: int) -> str:
    """Return the token that is given at a moment."""
    return f"{service}.{unix_seconds}.{_sign(service, password, unix_seconds)}"


def service_in(token: str) -> str:
    """Return for which service a token says that it is; empty: it is none."""
    service, _, rest = token.partition(".")
    second, _, sign = rest.partition(".")
    number = second.isascii() and second.isdecimal() and len(second) <= _DIGITS
    return service if number and sign else ""


def is_valid(token: str, passwords: Iterable[bytes], unix_seconds: int) -> bool:
    """Return whether a token was made with one of these passwords, and is not too old."""
    service = service_in(token)
    if not service:
        return False
    _, second, sign = token.split(".", 2)
    if unix_seconds - int(second) > TOKEN_SECONDS:
        return False
    made = [_sign(service, password, int(second)) for password in passwords]
    return any(hmac.compare_digest(each.encode(), sign.encode()) for each in made)


def _sign(service: str, password: bytes, unix_seconds: int) -> str:
    words = f"pltfrms part {service} {unix_seconds}"
    return hmac.digest(password, words.encode(), "sha256").hex()
