"""A question to a name server over UDP (RFC 1035)."""

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from pltfrms.drivers.workload.probes.kinds.udp import exchange
from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.services.probes import DNS_RCODES, DNS_TYPES, ProbeDns
from pltfrms.model.services.service import Probe

_HEADER: Final = struct.Struct("!HHHHHH")
"""Id, flags, and the numbers of questions, answers, authorities, and what else there is."""
_RECORD: Final = struct.Struct("!HHIH")
"""Type, class, time to live, and how many bytes follow."""
_RESPONSE: Final = 0x8000
_RECURSION: Final = 0x0100
_RCODE: Final = 0x000F
_INTERNET: Final = 1
_POINTER: Final = 0xC0
_NAMES: Final = {number: name for name, number in DNS_RCODES.items()}
_ADDRESSES: Final[Mapping[tuple[int, int], type[Address]]] = {
    (DNS_TYPES["A"], 4): IPv4Address,
    (DNS_TYPES["AAAA"], 16): IPv6Address,
}


async def ask_dns(connection: socket.socket, probe: Probe, address: Address) -> ProbeAnswer:
    """Ask for the code, and the address, that the probe expects."""
    query = probe.dns
    if query is None:
        return ProbeAnswer(failure="the probe does not say what to ask")
    question = _question(query, os.urandom(2))
    answer = await exchange(connection, (address, probe.port), question)
    try:
        return _judge(query, question, answer)
    except (IndexError, ValueError, struct.error):
        return ProbeAnswer(failure="not a DNS answer")


def _question(query: ProbeDns, number: bytes) -> bytes:
    labels = [each.encode() for each in query.name.rstrip(".").split(".") if each]
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    head = _HEADER.pack(0, _RECURSION, 1, 0, 0, 0)[2:]
    return number + head + name + struct.pack("!HH", DNS_TYPES[query.type], _INTERNET)


def _judge(query: ProbeDns, question: bytes, answer: bytes) -> ProbeAnswer:
    number, flags, questions, answers, *_ = _HEADER.unpack_from(answer)
    if number.to_bytes(2) != question[:2] or not flags & _RESPONSE:
        return ProbeAnswer(failure="not an answer to what was asked")
    asked = f"{query.name} {query.type}"
    said = _NAMES.get(flags & _RCODE, f"code {flags & _RCODE}")
    if said != query.rcode:
        return ProbeAnswer(failure=f"{asked} answers {said}", unwell=True)
    found = list(_addresses(answer, questions, answers)) if query.answer else []
    if not query.answer or ip_address(query.answer) in found:
        return ProbeAnswer()
    listed = ", ".join(map(str, found)) or "no address"
    return ProbeAnswer(failure=f"{asked} answers {listed}, not {query.answer}", unwell=True)


def _addresses(answer: bytes, questions: int, answers: int) -> Iterator[Address]:
    at = _HEADER.size
    for _ in range(questions):
        at = _after_name(answer, at) + 4
    for _ in range(answers):
        at = _after_name(answer, at)
        kind, _, _, size = _RECORD.unpack_from(answer, at)
        at += _RECORD.size
        if made := _ADDRESSES.get((kind, size)):
            yield made(answer[at : at + size])
        at += size


def _after_name(answer: bytes, at: int) -> int:
    """Return where a name ends: at an empty label, or at a pointer to the rest of it."""
    while (size := answer[at]) and size < _POINTER:
        at += 1 + size
    return at + (2 if size else 1)
