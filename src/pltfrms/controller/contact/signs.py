"""Machines by which a controller knows that it is slow, and for how long they say so."""

from typing import Final

SECONDS_MAX: Final = 60.0
"""Who says so for longer says nothing of us any more, until it has not done so for as long: a
few machines that are not ours any more may not keep all others from being judged. Most of all
machines are not a few: then it is us, for however long."""


class Signs:
    """One sign of being slow, by the machines that gave it."""

    def __init__(self) -> None:
        """None has."""
        self._rows: dict[str, tuple[float, float]] = {}
        """When (monotonic) each did: since then again and again, and last."""

    def note(self, machine: str, now: float, ttl_seconds: float, every: int) -> int:
        """Note one more; return how many machines, of `every` one, say so within a TTL."""
        rows = {who: row for who, row in self._rows.items() if now - row[1] <= SECONDS_MAX}
        self._rows = rows | {machine: (rows.get(machine, (now, now))[0], now)}
        most = 2 * len(self._rows) > every
        return sum(
            now - last <= ttl_seconds and (most or last - since <= SECONDS_MAX)
            for since, last in self._rows.values()
        )
