"""Which questions are asked here, and the door to them.

The plain ones, of which a node asks hundreds in a second, are in `rounds`.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from pltfrms.drivers.failover import refused_by_tls, sentence_of
from pltfrms.drivers.workload.probes.kinds.dns import ask_dns
from pltfrms.drivers.workload.probes.kinds.grpc import ask_grpc
from pltfrms.drivers.workload.probes.kinds.http import ask_http
from pltfrms.drivers.workload.probes.kinds.lines import ask_tls
from pltfrms.drivers.workload.probes.kinds.udp import ask_udp
from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.services.service import Probe, ProbeKind

_Ask = Callable[[socket.socket, Probe, Address], Awaitable[ProbeAnswer]]
_KINDS: Final[Mapping[ProbeKind, _Ask]] = {
    ProbeKind.HTTP: ask_http,
    ProbeKind.TCP: ask_tls,
    ProbeKind.UDP: ask_udp,
    ProbeKind.DNS: ask_dns,
    ProbeKind.GRPC: ask_grpc,
}


def is_plain(probe: Probe) -> bool:
    """Return whether a status line or a connection is all that a probe over TCP asks for."""
    few = probe.kind in {ProbeKind.HTTP, ProbeKind.TCP}
    return few and not (probe.tls or probe.http or probe.grace_max_ms or probe.epoch)


def takes_datagrams(probe: Probe) -> bool:
    """Return whether a probe needs a socket for UDP."""
    return probe.kind in {ProbeKind.UDP, ProbeKind.DNS}


async def ask_each(
    sockets: Sequence[socket.socket], probe: Probe, addresses: Sequence[Address]
) -> list[ProbeAnswer]:
    """Ask over each socket, all at once, and return what each address answered."""
    pairs = zip(sockets, addresses, strict=True)
    return await asyncio.gather(*(_ask(each, probe, address) for each, address in pairs))


async def _ask(connection: socket.socket, probe: Probe, address: Address) -> ProbeAnswer:
    try:
        async with asyncio.timeout(probe.timeout_ms / 1000):
            return await _KINDS[probe.kind](connection, probe, address)
    except TimeoutError:
        return ProbeAnswer(failure=f"no answer within {probe.timeout_ms} ms")
    except OSError as error:
        # Whose certificate is not the right one is there, and answers.
        return ProbeAnswer(failure=sentence_of(error), unwell=refused_by_tls(error))
    except EOFError:
        return ProbeAnswer(failure="closed without an answer")
