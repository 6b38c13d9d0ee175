"""One datagram, and the one that comes back."""

import asyncio
import socket
from typing import Final

from pltfrms.drivers.workload.probes.kinds.lines import first_words
from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.services.service import Probe

_DATAGRAM_BYTES: Final = 65_535


async def exchange(
    connection: socket.socket, where: tuple[Address, int], question: bytes
) -> bytes:
    """Send a datagram, and return the next one that comes from there.

    Raises:
        OSError: nobody listens there.
    """
    loop = asyncio.get_running_loop()
    connection.connect((str(where[0]), where[1]))  # only an address: nothing is sent
    await loop.sock_sendall(connection, question)
    return await loop.sock_recv(connection, _DATAGRAM_BYTES)


async def ask_udp(connection: socket.socket, probe: Probe, address: Address) -> ProbeAnswer:
    """Ask for an answer that has in it what the probe expects."""
    talk = probe.udp
    if talk is None:
        return ProbeAnswer(failure="the probe does not say what to send")
    question, expected = (text.encode("latin-1") for text in (talk.send, talk.expect))
    answer = await exchange(connection, (address, probe.port), question)
    if expected in answer:
        return ProbeAnswer()
    said = f"answers without {first_words(expected)!r}: {first_words(answer)!r}"
    return ProbeAnswer(failure=said, unwell=True)
