"""Says to other controllers that this one lives: a key that ends with its lease.

What the key holds says what keeps this controller from deciding, in words; mostly nothing.

A controller machine's own contact does not say so: its agent may report while the controller
beside it is down.
"""

from collections.abc import Callable

import structlog

from pltfrms.controller.records.state import presence_key
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Put, Store
from pltfrms.errors import NotFoundError, UnavailableError
from pltfrms.model.running.texts import shortened

_TTL_MIN_SECONDS = 2
"""What etcd makes of less, with our election timeout."""
_BEATS_PER_TTL = 3
_SENTENCE_MAX = 1000

_log = structlog.get_logger(__name__)


def presence_ttl_seconds(contact_ttl_seconds: int) -> int:
    """Return the TTL of a controller, by the TTL of a machine's contact.

    Shorter by a heartbeat: when a datacenter is lost, the controller that tells of its
    machines must not be one of them.
    """
    return max(_TTL_MIN_SECONDS, contact_ttl_seconds - 1)


class Presence:
    """Keeps the key of one controller."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        name: str,
        ttl_seconds: Callable[[], int],
        why_idle: Callable[[], str],
    ) -> None:
        """Write as the controller `name`; the two functions are asked before each renewal."""
        self._store = store
        self._clock = clock
        self._name = name
        self._ttl_seconds = ttl_seconds
        self._why_idle = why_idle
        self._lease = 0
        self._granted_seconds = 0
        self._said = b""

    async def run(self) -> None:
        """Renew the key until cancelled; it ends one TTL after that."""
        while True:
            seconds = self._ttl_seconds()
            try:
                await self._renew(seconds)
            except (UnavailableError, NotFoundError) as error:
                _log.warning("presence not renewed", error=str(error))
            await self._clock.sleep(seconds / _BEATS_PER_TTL)

    async def _renew(self, seconds: int) -> None:
        wanted = self._lease and self._granted_seconds == seconds
        lease = self._lease if wanted and await self._store.keep_alive(self._lease) else 0
        said = shortened(self._why_idle(), _SENTENCE_MAX).encode()
        if lease and said == self._said:
            return
        lease = lease or await self._store.grant(seconds)
        await self._store.commit([Put(key=presence_key(self._name), value=said, lease=lease)])
        self._lease, self._granted_seconds, self._said = lease, seconds, said
