"""The twin of the director's program in memory, for tests and simulation."""

from collections.abc import Callable, Collection, Iterator, Sequence
from ipaddress import IPv6Address

from pltfrms.drivers.balancer.maps import TABLES
from pltfrms.drivers.balancer.tables import check_table
from pltfrms.drivers.ports import Clock
from pltfrms.errors import UnavailableError
from pltfrms.model.running.balancer import (
    ROWS,
    BalancerCounts,
    BalancerSettings,
    BalancerTable,
    Hook,
    HookKind,
    InstanceCounts,
    ServiceCounts,
)


class MemoryBalancer:
    """`ports.Balancer` without packets: it is the kernel, too, and outlives agents."""

    def __init__(self, clock: Clock, devices: Callable[[], Collection[str]]) -> None:
        """`devices` says which devices are there now."""
        self._clock = clock
        self._devices = devices
        self.refusal = ""
        """Why the kernel cannot run it; `` if it can."""
        self.most_tables = TABLES
        self.refused_devices: dict[str, str] = {}
        """Why the kernel lets us not at a device, by its name."""
        self.settings: BalancerSettings | None = None
        """None until started, and after `stop`."""
        self.hooks: dict[str, Hook] = {}
        """By device."""
        self.tables: dict[int, BalancerTable] = {}
        """By service id."""
        self.totals: dict[str, int] = {}
        """What `counts` says, for tests to set."""
        self._beat_at: float | None = None
        self._seen: dict[IPv6Address, None] = {}

    async def start(self, settings: BalancerSettings) -> str:
        """See `ports.Balancer`."""
        if self.refusal:
            raise UnavailableError(self.refusal)
        self.settings = settings
        return f"runs in memory, with {len(self.tables)} tables from before"

    async def attach(self, hooks: Sequence[Hook]) -> tuple[str, ...]:
        """See `ports.Balancer`."""
        self._check()
        wanted: dict[str, Hook] = {}
        for hook in hooks:
            wanted.setdefault(hook.device, hook)
        present = set(self._devices())
        before = {name: hook for name, hook in self.hooks.items() if name in present}
        self.hooks = {
            name: before[name] if name in self.refused_devices else hook
            for name, hook in wanted.items()
            if name in present and (name not in self.refused_devices or name in before)
        }
        for hook in self.hooks.values():
            if hook.address is not None:
                self._seen[hook.address] = None
        devices = (*wanted, *(name for name in before if name not in wanted))
        return tuple(
            sentence
            for name in devices
            for sentence in self._told(name, present, before.get(name))
        )

    def put(self, table: BalancerTable) -> None:
        """See `ports.Balancer`."""
        self._check()
        check_table(table)
        if len(self.tables.keys() | {table.service.id}) > self.most_tables:
            raise UnavailableError(
                f"the director balances no more than {self.most_tables} services"
            )
        self.tables[table.service.id] = table
        self._seen |= dict.fromkeys(table.addresses)

    def remove(self, service_id: int) -> None:
        """See `ports.Balancer`."""
        self._check()
        self.tables.pop(service_id, None)

    def installed(self) -> frozenset[int]:
        """See `ports.Balancer`."""
        self._check()
        return frozenset(self.tables)

    def row(self, service_id: int, row: int) -> tuple[IPv6Address, ...]:
        """See `ports.Balancer`."""
        self._check()
        table = self.tables.get(service_id)
        if table is None or not 0 <= row < ROWS:
            return ()
        numbers = (column[row] for column in table.columns)
        return tuple(table.addresses[number - 1] for number in numbers if number)

    def beat(self) -> None:
        """See `ports.Balancer`."""
        self._check()
        self._beat_at = self._clock.monotonic()

    def beat_age_ms(self) -> int:
        """See `ports.Balancer`."""
        self._check()
        if self._beat_at is None:
            return -1
        return int((self._clock.monotonic() - self._beat_at) * 1000)

    def counts(self) -> BalancerCounts:
        """See `ports.Balancer`. No packet ever passes."""
        self._check()
        return BalancerCounts(
            services={number: ServiceCounts() for number in self.tables},
            instances={str(address): InstanceCounts() for address in self._seen},
            totals=dict(self.totals),
        )

    async def stop(self) -> None:
        """See `ports.Balancer`."""
        self.settings = self._beat_at = None
        self.hooks, self.tables, self._seen = {}, {}, {}

    def _told(self, name: str, present: Collection[str], before: Hook | None) -> Iterator[str]:
        if name not in present:
            yield f"missing {name}"
        elif name in self.refused_devices:
            yield f"refused {name}: {self.refused_devices[name]}"
        else:
            yield from _changes(name, before, self.hooks.get(name))

    def _check(self) -> None:
        if self.settings is None:
            raise UnavailableError("the director has not been started")
        if self.refusal:
            raise UnavailableError(self.refusal)


def _changes(device: str, before: Hook | None, after: Hook | None) -> Iterator[str]:
    old, new = _programs(before), _programs(after)
    for side in ("egress", "ingress"):
        if side in new and new[side] != old.get(side):
            verb = "replaced" if side in old else "attached"
            yield f"{verb} {new[side]} at {device}"
        elif side in old and side not in new:
            yield f"detached at {side} of {device}"


def _programs(hook: Hook | None) -> dict[str, str]:
    if hook is None:
        return {}
    if hook.kind is HookKind.INSTANCE:
        return {"egress": "instance_out", "ingress": "instance_in"}
    return {"ingress": hook.kind.value}
