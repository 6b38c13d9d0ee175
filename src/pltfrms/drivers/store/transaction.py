"""What every store accepts as one transaction."""

from collections.abc import Sequence

from pltfrms.drivers.store.ports import Condition, Delete, Put
from pltfrms.errors import InvariantError

MAX_OPERATIONS = 100
"""Writes + conditions of one transaction. etcd refuses more than 128 of each."""
MAX_BYTES = 1_000_000
"""Keys + values of one transaction. etcd refuses requests above 1.5 MiB."""


def check_transaction(writes: Sequence[Put | Delete], conditions: Sequence[Condition]) -> None:
    """Refuse what etcd would refuse, so that no store is more patient than the real one.

    Raises:
        InvariantError: too many operations, too many bytes, an empty key, or two writes of
            the same key.
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
        raise InvariantError(f"a transaction of {size} bytes; at most {MAX_BYTES}")


def _size(write: Put | Delete) -> int:
    value = write.value if isinstance(write, Put) else b""
    return len(write.key.encode()) + len(value)
