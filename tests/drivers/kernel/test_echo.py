"""The echo over a real link."""

import asyncio
import subprocess
import time
from ipaddress import IPv6Address

import pytest

from pltfrms.drivers.kernel.checked.echo import TIMEOUT_SECONDS, IcmpPinger
from tests.namespaces import in_machine

NEAR, FAR = "fe80::e:1", "fe80::e:2"
ANOTHER = """
import ctypes, time
ctypes.CDLL(None).unshare(0x40000000)
print("ready", flush=True)
time.sleep(60)
"""


def sure() -> bool:
    """Have an echo waited for as long as it may take."""
    return False


def _ip(line: str, *, inside: int = 0) -> None:
    enter = ("nsenter", f"--net=/proc/{inside}/ns/net") if inside else ()
    subprocess.run((*enter, "ip", *line.split()), check=True)


def _make_link() -> subprocess.Popen[bytes]:
    """Return the process in whose network namespace the far end of `bb-far` is."""
    far = subprocess.Popen(("python3", "-c", ANOTHER), stdout=subprocess.PIPE)
    assert far.stdout is not None
    far.stdout.readline()
    _ip(f"link add bb-far type veth peer bb-near netns {far.pid}")
    _ip("link set bb-far up")
    _ip(f"addr add {NEAR}/64 dev bb-far nodad")
    _ip("link set bb-near up", inside=far.pid)
    _ip(f"addr add {FAR}/64 dev bb-near nodad", inside=far.pid)
    return far


@pytest.mark.root
def test_an_echo_has_a_time_and_silence_has_none() -> None:
    async def story() -> None:
        far = _make_link()
        pinger = IcmpPinger()
        # The carrier comes a moment after `up`: only the last of several must be heard.
        rtts = [await pinger.ping("bb-far", IPv6Address(FAR), sure) for _ in range(4)]
        assert rtts[-1] is not None
        assert 0 < rtts[-1] < 500
        nobody = IPv6Address("fe80::e:99")
        asked = 0

        def in_doubt() -> bool:
            nonlocal asked
            asked += 1
            return True

        assert await pinger.ping("bb-far", nobody, sure) is None
        assert await pinger.ping("bb-far", nobody, in_doubt) is None
        assert asked == 1, "it waited no longer"
        with pytest.raises(OSError, match="No such device|no interface"):  # noqa: RUF043 - or
            await pinger.ping("bb-nowhere", IPv6Address(FAR), sure)
        far.kill()
        far.wait()

    in_machine(story)


@pytest.mark.root
def test_an_echo_that_came_while_nobody_looked_is_one() -> None:
    """This process may get no processor for a while; the kernel at the other end answers."""

    async def story() -> None:
        far = _make_link()
        pinger = IcmpPinger()
        for _ in range(4):
            await pinger.ping("bb-far", IPv6Address(FAR), sure)
        asking = asyncio.ensure_future(pinger.ping("bb-far", IPv6Address(FAR), lambda: True))
        await asyncio.sleep(0)
        time.sleep(TIMEOUT_SECONDS)  # noqa: ASYNC251 - that is what is tested
        assert await asking is not None
        far.kill()
        far.wait()

    in_machine(story)
