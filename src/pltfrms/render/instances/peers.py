"""Say which replicas with volumes a service has, for programs that look for each other."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from pltfrms.model.network.topology import Platform
from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.volumes import Volume
from pltfrms.model.services.members import Member, members_of
from pltfrms.model.services.names import domain_of


def render_peers(
    platform: Platform, service: BalancedService, held: Iterable[Volume], own: Member
) -> str:
    """Return the members of a service as JSON, one a line, for the instance of `own`.

    `held` is what they have on disks: who has nothing yet is nowhere. All that are wanted are
    in it, in an order that stays, whether they run or not.
    """
    where = {
        (each.datacenter, each.replica): each for each in held if each.service == service.name
    }
    below = f"{service.name}.{domain_of(platform)}"
    members = members_of(platform, service.id, service.members) if service.members else ()
    rows = (
        json.dumps(_row(each, below, where.get((each.datacenter, each.replica))))
        for each in members
    )
    head = (
        f'"service": {json.dumps(service.name)}, "name": {json.dumps(f"{own.label}.{below}")}'
    )
    return "".join((f"{{{head}, ", '"members": [\n', ",\n".join(rows), "\n]}\n"))


def _row(member: Member, below: str, volume: Volume | None) -> dict[str, object]:
    since_ms = volume.begun_ms if volume else 0
    return {
        "name": f"{member.label}.{below}",
        "datacenter": member.datacenter,
        "replica": member.replica,
        "address6": str(member.address6),
        "address4": str(member.address4) if member.address4 else None,
        "node": volume.node if volume else None,
        "since": f"{datetime.fromtimestamp(since_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
        if since_ms
        else None,
    }
