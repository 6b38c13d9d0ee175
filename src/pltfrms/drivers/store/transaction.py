"""What every store accepts as one transaction."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from pltfrms.drivers.store.ports import Condition, Delete, Put
from pltfrms.errors import InvariantError, UsageError

MAX_OPERATIONS = 100
"""Writes + conditions of one transaction. etcd refuses more than 128 of each."""
MAX_BYTES = 1_000_000
"""Keys + values of one transaction. etcd refuses requests above 1.5 MiB."""

_Write = TypeVar("_Write", Put, Delete, Put | Delete)


def batches(writes: Iterable[_Write]) -> Iterator[list[_Write]]:
    """Yield writes in their order, as many at once as one transaction without conditions takes.

    One that is too large for any is alone.
    """
    batch: list[_Write] = []
    size = 0
    for write in writes:
        if batch and (len(batch) == MAX_OPERATIONS or size + _size(write) > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(write)
        size += _size(write)
    if batch:
        yield batch


def check_transaction(writes: Sequence[Put | Delete], conditions: Sequence[Condition]) -> None:
    """Refuse what etcd would refuse, so that no store is more patient than the real one.

    Raises:
        InvariantError: too many operations, an empty key, or two writes of the same key.
        UsageError: too many bytes; somebody has said too much at once.
    """
    if len(writes) + len(conditions) > MAX_OPERATIONS:
        count = f"{len(writes)} writes and {len(conditions)} conditions"
        raise InvariantError(f"a transaction of {count}; at most {MAX_OPERATIONS} together")
    keys = [write.key for write in writes]
    if len(set(keys)) != len(keys):
        raise InvariantError(f"a transaction writes a key twice: {sorted(keys)}")
    if not all((*keys, *(condition.key for condition in conditions))):
        raise InvariantError("a transaction names an empty key")
    size = sum(_size(write) for write in writes)
    if size > MAX_BYTES:
        raise UsageError(
            f"the store takes at most {MAX_BYTES} bytes at once, and this has {size}: say "
            "less, or split it"
        )


def _size(write: Put | Delete) -> int:
    value = write.value if isinstance(write, Put) else b""
    return len(write.key.encode()) + len(value)
