"""Where Prometheus finds what has metrics, by its HTTP service discovery.

GET /v1/prometheus/targets   -> list of ScrapeGroup; 503 if no platform was ever known
It works also while the store is away, with the platform that was known last: what is not in
the list is asked no more, and after a 503 Prometheus goes on with the list that it has.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fastapi import FastAPI, Response

from pltfrms.api.bounds.bodies import JSON
from pltfrms.api.routes.glass import platform_of
from pltfrms.codec import encode
from pltfrms.controller.asked.operations import Operations
from pltfrms.model.network.readers import METRICS_PORT
from pltfrms.model.network.topology import CONTROLLER_PORT, Machine, Platform, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeGroup:
    """What Prometheus is to ask, in its own words."""

    targets: tuple[str, ...]
    labels: Mapping[str, str]


def add_discovery_route(app: FastAPI, operations: Operations) -> None:
    """Answer Prometheus which machines have metrics."""

    @app.get("/v1/prometheus/targets")
    async def scraped() -> Response:
        """Return what has metrics, as Prometheus' HTTP service discovery wants it."""
        found = tuple(scrape_groups(platform_of(operations)))
        return Response(encode(found, tuple[ScrapeGroup, ...]), media_type=JSON)


def scrape_groups(platform: Platform) -> Iterator[ScrapeGroup]:
    """Yield where metrics are told, with labels that say what tells them.

    Also of machines that are lost: what is not asked any more rings no alarm.
    """
    for machine in platform.machines_of(Role.CONTROLLER):
        yield _group(platform, machine, CONTROLLER_PORT, Role.CONTROLLER, "controller")
    if platform.readers:
        for machine in platform.managed:
            yield _group(platform, machine, METRICS_PORT, machine.role, "agent")


def _group(
    platform: Platform, machine: Machine, port: int, role: Role, part: str
) -> ScrapeGroup:
    return ScrapeGroup(
        targets=(f"[{platform.loopback6(machine)}]:{port}",),
        labels={
            "platform": platform.name,
            "datacenter": machine.datacenter,
            "machine": machine.name,
            "role": role.value,
            "part": part,
        },
    )
