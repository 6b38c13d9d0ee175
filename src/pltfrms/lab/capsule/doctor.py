"""Measure every wire, and say what this kernel made the lab do in another way."""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pltfrms.lab.network.impairment import MILLION, PortCondition
from pltfrms.lab.network.shaping import Shaper
from pltfrms.lab.parts import Port, PortKey, Segment, Wiring
from pltfrms.lab.protocol import LinkReport, Substitute

_PINGS = 10
_TOLERANCE_US = 2_000
_AT_ONCE = 16


async def measure_links(
    wiring: Wiring, conditions: Mapping[PortKey, PortCondition], pids: Mapping[str, int]
) -> tuple[LinkReport, ...]:
    """Ping from the first powered port of every segment to each other one.

    `pids` has a process of every powered machine. Takes about a second.
    """
    turns = asyncio.Semaphore(_AT_ONCE)

    async def measure(segment: Segment, hub: Port, other: Port) -> LinkReport:
        asked_us, loss = _asked(conditions[hub.key], conditions[other.key])
        async with turns:
            rtt_us, why = await _ping(pids, hub, other)
        if rtt_us is None and loss:
            why = f"{why} (faults are to blame)"
        return LinkReport(
            segment=segment.name,
            ends=(hub.machine, other.machine),
            asked_us=asked_us,
            rtt_us=rtt_us,
            verdict=_verdict(asked_us, rtt_us),
            why=why,
        )

    pairs = _pairs(wiring, pids)
    return tuple(await asyncio.gather(*(measure(*pair) for pair in pairs)))


def list_substitutes(shaper: Shaper, pids: Mapping[str, int]) -> tuple[Substitute, ...]:
    """Return what the lab does in another way than a real network would."""
    found = [Substitute(what="delay and loss of links", uses=shaper.name, why=shaper.why)]
    pid = next(iter(pids.values()), 0)
    controllers = Path("/proc", str(pid), "root", "sys/fs/cgroup", "cgroup.controllers")
    if not controllers.exists() or "memory" not in controllers.read_text():
        found.append(
            Substitute(
                what="cpu and memory limits of instances",
                uses="nothing, or what the agent reports",
                why="machines of a lab have no cgroup controllers of their own",
            )
        )
    return tuple(found)


def _pairs(wiring: Wiring, pids: Mapping[str, int]) -> Iterator[tuple[Segment, Port, Port]]:
    for segment in wiring.segments:
        powered = [port for port in segment.ports if port.machine in pids]
        for other in powered[1:]:
            yield segment, powered[0], other


def _asked(hub: PortCondition, other: PortCondition) -> tuple[int, bool]:
    """Return the mean one-way delay (microseconds), and whether faults stop or lose frames."""
    ways = (hub.shape.outward, other.shape.inward, other.shape.outward, hub.shape.inward)
    broken = any(one.cut or one.silent for one in (hub, other))
    lossy = broken or any(way.loss_ppm for way in ways)
    return sum(way.delay_us for way in ways) // 2, lossy


def _verdict(asked_us: int, rtt_us: int | None) -> str:
    if rtt_us is None:
        return "unknown"
    tolerance_us = max(_TOLERANCE_US, 2 * asked_us // 10)
    return "ok" if abs(rtt_us - 2 * asked_us) <= tolerance_us else "off"


async def _ping(pids: Mapping[str, int], hub: Port, other: Port) -> tuple[int | None, str]:
    """Return the median round trip in microseconds, or None and why not."""
    address = await _link_local(pids[other.machine], other.interface)
    if not address:
        return None, f"{other.machine} has no link-local address on {other.interface}"
    target = f"{address}%{hub.interface}"
    text = await _inside(
        pids[hub.machine], "ping", "-6", "-c", str(_PINGS), "-i", "0.1", "-W", "1", target
    )
    times = sorted(float(found) for found in re.findall(r"time=([\d.]+) ms", text))
    if not times:
        return None, "no answer to pings"
    return round(times[len(times) // 2] * MILLION / 1000), f"{len(times)} of {_PINGS} answers"


async def _link_local(pid: int, interface: str) -> str:
    text = await _inside(pid, "ip", "-6", "-json", "address", "show", "dev", interface)
    for device in json.loads(text or "[]"):
        for address in device.get("addr_info", ()):
            if address.get("scope") == "link" and "tentative" not in address:
                return str(address["local"])
    return ""


async def _inside(pid: int, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "nsenter",
        f"--target={pid}",
        "--net",
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return output.decode()
