"""Who gets which packet: tables, instances and counts in the kernel's maps.

Nothing is kept twice: what an agent before us put is read from the maps. In the maps a service
has the index of its table, an instance has a number; both mean something on this machine only.
"""

import array
import struct
import sys
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address

from pltfrms.drivers.balancer.maps import COUNTERS, INSTANCES, TABLE_BYTES, TABLES, Maps
from pltfrms.drivers.kernel.programs.bpf import Map, MapShape
from pltfrms.errors import InvariantError, UnavailableError
from pltfrms.model.addresses import Prefix
from pltfrms.model.running.balancer import (
    CHANCES,
    MAX_CANDIDATES,
    ROWS,
    BalancedService,
    BalancerCounts,
    BalancerTable,
    InstanceCounts,
    ServiceCounts,
)

_BATCH = 16
"""Tables made at once: the kernel waits 16 ms when one is added, and as long for many."""
_IPV4 = 4


class Tables:
    """The tables of one set of maps. Methods raise OSError when the kernel refuses.

    `put` takes half a millisecond; every 16th new service 16 ms more.
    """

    def __init__(self, maps: Maps) -> None:
        """Read what is there."""
        self._maps = maps
        self._index: dict[int, int] = {}
        self._keys: dict[int, set[bytes]] = {}
        for key, value in maps["services"].items().items():
            index, service = struct.unpack("=2I", value)
            self._index[service] = index
            self._keys.setdefault(service, set()).add(key)
        self._made = 0
        while self._made < TABLES and maps["tables"].get(self._made) is not None:
            self._made += 1
        self._addresses = {
            number: IPv6Address(value)
            for number, value in enumerate(maps["instances"].values())
            if number and any(value)
        }
        self._numbers = {address: number for number, address in self._addresses.items()}
        self._next = max(self._addresses, default=0) + 1

    def installed(self) -> frozenset[int]:
        """Return the ids of the services that have a table."""
        return frozenset(self._index)

    def put(self, table: BalancerTable) -> None:
        """Make this the table of its service."""
        check_table(table)
        service = table.service
        numbers = self._numbers_of(table.addresses)
        index = self._index.get(service.id)
        fresh = index is None
        if index is None:
            index = self._take_spare()
        with self._rows_of(index) as rows:
            rows.put(0, _rows(table.columns, numbers))
        if fresh:
            self._maps["service_stats"].put(index, _zero(self._maps["service_stats"]))
        self._index[service.id] = index
        self._set_keys(service, index)

    def remove(self, service_id: int) -> None:
        """Make a service unknown; its table becomes a spare one."""
        for key in self._keys.pop(service_id, set()):
            self._maps["services"].delete(key)
        self._index.pop(service_id, None)

    def row(self, service_id: int, row: int) -> tuple[IPv6Address, ...]:
        """Return the instances of a row, as the kernel has them."""
        index = self._index.get(service_id)
        if index is None or not 0 <= row < ROWS:
            return ()
        with self._rows_of(index) as rows:
            value = rows.get(0) or bytes(TABLE_BYTES)
        numbers = struct.unpack_from(f"={CHANCES}H", value, (ROWS + row * CHANCES) * 2)
        return tuple(self._addresses[number] for number in numbers if number)

    def counts(self) -> BalancerCounts:
        """Return all counts, summed over the CPUs."""
        stats, total = self._maps["service_stats"], self._maps["counters"]
        instances = self._maps["instance_stats"]
        return BalancerCounts(
            services={
                service: ServiceCounts(
                    **_named(stats, index, ("packets", "bytes", "new_flows", "no_instance"))
                )
                for service, index in self._index.items()
            },
            instances={
                str(address): InstanceCounts(
                    **_named(instances, number, ("packets", "bytes", "second_chances"))
                )
                for address, number in self._numbers.items()
            },
            totals={name: _sums(total, number)[0] for number, name in enumerate(COUNTERS)},
        )

    def _rows_of(self, index: int) -> Map:
        rows = self._maps["tables"].map_in(index)
        if rows is None:
            raise UnavailableError(f"the director's table {index} is gone: restart the agent")
        return rows

    def _set_keys(self, service: BalancedService, index: int) -> None:
        wanted = {key_of(prefix) for prefix in service.prefixes}
        # First of all: `remove` must find also what is put before the kernel refuses the rest.
        self._keys.setdefault(service.id, set()).update(wanted)
        for key in wanted:
            self._maps["services"].put(key, struct.pack("=2I", index, service.id))
        for key in self._keys[service.id] - wanted:
            # Unless it is another service's by now.
            value = self._maps["services"].get(key)
            if value is not None and struct.unpack("=2I", value)[1] == service.id:
                self._maps["services"].delete(key)
        for keys in self._keys.values():
            keys.difference_update(wanted)
        self._keys[service.id] = wanted

    def _take_spare(self) -> int:
        used = set(self._index.values())
        spare = next((index for index in range(self._made) if index not in used), None)
        if spare is not None:
            return spare
        if self._made == TABLES:
            raise UnavailableError(f"the director balances no more than {TABLES} services")
        last = min(self._made + _BATCH, TABLES)
        shape = self._maps["tables"].shape.inner
        self._add_tables(range(self._made, last), shape)
        first, self._made = self._made, last
        return first

    def _add_tables(self, indexes: Iterable[int], shape: MapShape | None) -> None:
        if shape is None:
            raise InvariantError("the map of tables does not say what a table is like")
        made: dict[int, Map] = {}
        try:
            for index in indexes:
                made[index] = Map.create(shape, "rows")
            self._maps["tables"].put_maps(made)
        finally:
            for one in made.values():
                one.close()

    def _numbers_of(self, addresses: Sequence[IPv6Address]) -> list[int]:
        """Return the numbers of instances; who has none gets one.

        Raises:
            UnavailableError: all numbers are in use.
        """
        kept = {self._numbers[each] for each in addresses if each in self._numbers}
        for address in addresses:
            if address in self._numbers:
                continue
            number = self._next if self._next < INSTANCES else self._reclaim(kept)
            self._next = max(self._next, number + 1)
            stats = self._maps["instance_stats"]
            stats.put(number, _zero(stats))
            self._maps["instances"].put(number, address.packed)
            self._numbers[address] = number
            self._addresses[number] = address
            kept.add(number)
        return [self._numbers[address] for address in addresses]

    def _reclaim(self, kept: set[int]) -> int:
        """Take away the number of an instance that no table has, but none that is kept."""
        used = set(kept)
        for index in self._index.values():
            with self._rows_of(index) as rows:
                used.update(array.array("H", rows.get(0) or b""))
        free = next((number for number in self._addresses if number not in used), None)
        if free is None:
            raise UnavailableError(f"the director knows no more than {INSTANCES - 1} instances")
        del self._numbers[self._addresses.pop(free)]
        return free


def check_table(table: BalancerTable) -> None:
    """Raise InvariantError if a table has not the size that all tables have."""
    sizes = {len(column) for column in table.columns}
    if sizes != {ROWS} or len(table.columns) != CHANCES:
        raise InvariantError(f"a table has {CHANCES} columns of {ROWS} rows")
    if len(table.addresses) > MAX_CANDIDATES:
        raise InvariantError(f"a table has at most {MAX_CANDIDATES} candidates")


def key_of(prefix: Prefix) -> bytes:
    """Return the 16 bytes by which the program finds a service."""
    address = prefix.network_address.packed
    return address if prefix.version != _IPV4 else bytes(10) + b"\xff\xff" + address


def _rows(columns: tuple[bytes, ...], numbers: list[int]) -> bytes:
    """Return a table as the program reads it: u16 numbers of instances."""
    low = bytes((0, *(number & 0xFF for number in numbers))).ljust(256, b"\0")
    high = bytes((0, *(number >> 8 for number in numbers))).ljust(256, b"\0")
    first, second = (low, high) if sys.byteorder == "little" else (high, low)
    rows = bytearray(ROWS * CHANCES * 2)
    for place, column in enumerate(columns):
        rows[2 * place :: 2 * CHANCES] = column.translate(first)
        rows[2 * place + 1 :: 2 * CHANCES] = column.translate(second)
    firsts = bytearray(ROWS * 2)
    firsts[::2], firsts[1::2] = rows[:: 2 * CHANCES], rows[1 :: 2 * CHANCES]
    return bytes(firsts + rows)


def _zero(stats: Map) -> bytes:
    return bytes(stats.stored_bytes)


def _sums(stats: Map, key: int) -> list[int]:
    words = array.array("Q", stats.get(key) or b"")
    width = stats.shape.value_bytes // 8
    return [sum(words[place::width]) for place in range(width)]


def _named(stats: Map, key: int, names: tuple[str, ...]) -> dict[str, int]:
    return dict(zip(names, _sums(stats, key), strict=True))
