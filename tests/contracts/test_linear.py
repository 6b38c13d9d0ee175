"""The checker of histories finds what is wrong, and nothing else."""

import math
from random import Random

import pytest

from tests.contracts.linear import Kind, Op, is_linearizable


def read(value: str, began: float, ended: float) -> Op:
    return Op(kind=Kind.READ, value=value, began=began, ended=ended)


def write(value: str, began: float, ended: float = math.inf) -> Op:
    return Op(kind=Kind.WRITE, value=value, began=began, ended=ended)


def swap(expected: str, value: str, began: float, ended: float = math.inf) -> Op:
    return Op(kind=Kind.SWAP, expected=expected, value=value, began=began, ended=ended)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ((), True),
        ((read("", 0, 1),), True),
        ((read("a", 0, 1),), False),
        ((write("a", 0, 1), read("a", 2, 3)), True),
        ((write("a", 0, 1), read("", 2, 3)), False),  # an acknowledged write is lost
        ((write("a", 0, 5), read("a", 1, 2), read("", 3, 4)), False),  # it comes and goes
        ((write("a", 0, 5), read("", 1, 2), read("a", 3, 4)), True),
        ((swap("", "a", 0, 1), swap("", "b", 2, 3)), False),  # a stale writer wins
        ((swap("", "a", 0, 3), swap("", "b", 1, 2)), False),
        ((swap("", "a", 0, 1), swap("a", "b", 2, 3), read("b", 4, 5)), True),
        ((write("a", 0), read("", 1, 2), read("a", 3, 4)), True),  # it was done later
        ((write("a", 0), read("", 1, 2)), True),  # or never
        ((write("a", 0), read("a", 1, 2), read("", 3, 4)), False),
    ],
)
def test_a_history_fits_some_order_or_does_not(
    history: tuple[Op, ...], *, expected: bool
) -> None:
    assert is_linearizable(history) is expected


@pytest.mark.parametrize("seed", range(20))
def test_what_a_real_register_did_fits_and_one_lost_write_does_not(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a simulation, no secret
    history: list[Op] = []
    value = ""
    for number in range(300):
        at = number + random.random()
        began, ended = at - 3 * random.random(), at + 3 * random.random()
        kind = random.choice(list(Kind))
        if kind is Kind.READ:
            history.append(read(value, began, ended))
            continue
        expected, value = value, f"v{number}"
        new = write(value, began, ended) if kind is Kind.WRITE else None
        history.append(new or swap(expected, value, began, ended))
    assert is_linearizable(history)
    lost = next(op for op in history if op.kind is Kind.SWAP and op.expected)
    history = [op for op in history if op.value != lost.expected or op.kind is Kind.READ]
    assert not is_linearizable(history)
