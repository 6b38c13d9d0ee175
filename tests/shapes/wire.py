"""What crosses the wires between our edges and others, seen on the wires themselves."""

import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from pltfrms.lab.client.client import LabClient
from pltfrms.lab.layout.wiring import make_wiring
from pltfrms.lab.parts import Port, Segment
from pltfrms.model.addresses import Address
from tests.shapes.shapes import Shape

_FILE_HEADER, _RECORD_HEADER = 24, 16
_TCP = 6


@dataclass(frozen=True, slots=True)
class Seen:
    """A packet that one of our edges sent to somebody outside."""

    source: Address
    to: Address
    port: int
    """Of TCP, where it goes; 0: it is no TCP."""


@dataclass(slots=True)
class Wires:
    """All wires to the outside, and what was captured there so far."""

    client: LabClient
    directory: Path
    uplinks: tuple[tuple[Segment, Port], ...]
    seen: list[Seen] = field(default_factory=list)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Capture until the end; a machine that dies meanwhile ends the capture of its wire."""
        running = []
        for number, (segment, port) in enumerate(self.uplinks):
            file = self.directory / f"{number}-{len(self.seen)}.pcap"
            argv = [*self.client.pcap_argv(segment.name, str(file)), "ip or ip6"]
            show = ["cat", f"/sys/class/net/{port.interface}/address"]
            found = subprocess.run(
                self.client.exec_argv(port.machine, show), capture_output=True, check=True
            )
            mac = bytes.fromhex(found.stdout.decode().strip().replace(":", ""))
            capture = subprocess.Popen(argv, stderr=subprocess.PIPE)
            assert capture.stderr is not None
            assert b"listening" in capture.stderr.readline()
            running.append((capture, file, mac))
        try:
            yield
            time.sleep(0.2)
        finally:
            for capture, file, mac in running:
                capture.terminate()
                capture.communicate()
                self.seen += _read(file.read_bytes(), mac)
                file.unlink()


def wires(client: LabClient, shape: Shape, directory: Path) -> Wires:
    """Return the wires between our edges and the networks of the emulated internet."""
    assert shape.lab is not None
    edges = {each.name for each in shape.platform.managed}
    outside = set(shape.lab.machines)
    uplinks = tuple(
        (segment, port)
        for segment in make_wiring(shape.platform, shape.lab).segments
        for port in segment.ports
        if port.machine in edges and any(each.machine in outside for each in segment.ports)
    )
    return Wires(client, directory, uplinks)


def _read(data: bytes, mac: bytes) -> Iterable[Seen]:
    """Yield what was sent from an interface, by the bytes of a capture of its wire."""
    at = _FILE_HEADER
    while at + _RECORD_HEADER <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 8)
        frame = data[at + _RECORD_HEADER : at + _RECORD_HEADER + length]
        at += _RECORD_HEADER + length
        if frame[6:12] == mac and at <= len(data):  # the last may be cut off
            yield _packet(frame[14:])


def _packet(packet: bytes) -> Seen:
    if packet[0] >> 4 == 4:
        start, protocol, addresses = 4 * (packet[0] & 15), packet[9], packet[12:20]
    else:
        start, protocol, addresses = 40, packet[6], packet[8:40]
    half = len(addresses) // 2
    port = struct.unpack_from("!H", packet, start + 2)[0] if protocol == _TCP else 0
    return Seen(ip_address(addresses[:half]), ip_address(addresses[half:]), port)
