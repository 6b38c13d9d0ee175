"""Which endpoint to ask first, and which next; and that one did not answer. No I/O."""

from collections.abc import Callable, Sequence
from typing import Final

from pltfrms.errors import UsageError


class SilentError(Exception):
    """An endpoint did not answer; `sent`: it may have heard the question."""

    def __init__(self, problem: str, *, sent: bool = True) -> None:
        """Say in a sentence what went wrong."""
        super().__init__(problem)
        self.sent = sent


_ALERTS: Final = {
    "TLSV1_ALERT_UNKNOWN_CA": "it refuses our certificate, which is of another platform",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it refuses our certificate, which has expired for it",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refuses our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it refuses our certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate, and we have none",
    "WRONG_VERSION_NUMBER": "it does not speak TLS: has its machine an identity?",
}
"""By what OpenSSL calls them."""


CLOSED_BY_TLS: Final = (
    "it closed the connection without a word; perhaps it refuses our certificate, "
    "and says in its log why"
)
"""asyncio does not send the alert with which a server ends a handshake of TLS 1.3."""


def refused_by_tls(error: Exception) -> bool:
    """Return whether nothing was asked, as one end does not accept the other's certificate."""
    return bool(getattr(error, "verify_message", "")) or getattr(error, "reason", "") in _ALERTS


def sentence_of(error: Exception) -> str:
    """Return what went wrong with a connection."""
    if message := getattr(error, "verify_message", ""):
        return f"its certificate is not accepted here: {message}"
    if alert := _ALERTS.get(str(getattr(error, "reason", ""))):
        return alert
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


class Failover:
    """The order in which the endpoints of one service are tried.

    Sticky: the last one that answered comes first, then the others in the order they were
    given, wrapping around. `endpoints[0]` is home (the nearest). Away from home, it is tried
    first again once every `home_after_seconds`; None never does.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        monotonic: Callable[[], float],
        home_after_seconds: float | None = None,
    ) -> None:
        """Begin at home; UsageError if there are no endpoints."""
        if not endpoints:
            raise UsageError("no endpoints given; name at least one")
        self._endpoints = tuple(dict.fromkeys(endpoints))
        self._monotonic = monotonic
        self._home_after_seconds = home_after_seconds
        self._current = 0
        self._left_home_at = 0.0

    def use(self, endpoints: Sequence[str]) -> None:
        """Try these from now on; the one that answered last stays first if it is among them."""
        current, self._endpoints = self.current, tuple(dict.fromkeys(endpoints))
        known = current in self._endpoints
        self._current = self._endpoints.index(current) if known else 0

    @property
    def current(self) -> str:
        """The endpoint that answered last."""
        return self._endpoints[self._current]

    def order(self) -> tuple[str, ...]:
        """Return all endpoints, the one to ask first first."""
        sticky = self._endpoints[self._current :] + self._endpoints[: self._current]
        if not self._current or not self._home_is_due():
            return sticky
        self._left_home_at = self._monotonic()
        home = self._endpoints[0]
        return (home, *(endpoint for endpoint in sticky if endpoint != home))

    def answered(self, endpoint: str) -> None:
        """Remember that `endpoint` answered."""
        if endpoint in self._endpoints:  # else it is not used any more
            self._move_to(self._endpoints.index(endpoint))

    def failed(self, endpoint: str) -> None:
        """Remember that `endpoint` did not answer."""
        if endpoint == self.current:
            self._move_to((self._current + 1) % len(self._endpoints))

    def _move_to(self, index: int) -> None:
        if self._current == 0 and index != 0:
            self._left_home_at = self._monotonic()
        self._current = index

    def _home_is_due(self) -> bool:
        if self._home_after_seconds is None:
            return False
        return self._monotonic() - self._left_home_at >= self._home_after_seconds
