"""What the kernel counts of what came to a network namespace, here our own."""

import os
import socket

import pytest

from pltfrms.drivers.workload.measuring.usage import arrived_of

_MANY = 50


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_datagrams_of_both_families_count(family: socket.AddressFamily, address: str) -> None:
    with (
        socket.socket(family, socket.SOCK_DGRAM) as here,
        socket.socket(family, socket.SOCK_DGRAM) as there,
    ):
        here.bind((address, 0))
        before = arrived_of(os.getpid())
        assert before is not None
        for _ in range(_MANY):
            there.sendto(b"x", here.getsockname())
            here.recv(1)
        assert (arrived_of(os.getpid()) or 0) >= before + _MANY


def test_of_who_is_gone_nothing_is_known() -> None:
    assert arrived_of(2**22 + 1) is None
