"""Roles of services, and who has them, for people."""

from collections.abc import Iterator
from dataclasses import dataclass

from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.roles import holders


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRow:
    """A role of a service, and who has it."""

    name: str
    prefixes: tuple[str, ...]
    holders: tuple[str, ...]
    """Allocations; empty: nobody has it, as far as nodes are heard of."""
    epoch: int | None = None
    """The highest that they say; None: none."""


def role_rows(snapshot: Snapshot, service: Service) -> Iterator[RoleRow]:
    """Yield the roles that the spec of a service has."""
    wanted = {role.name for role in service.spec.roles}
    for role in service.roles:
        if role.name in wanted:
            found = holders(snapshot, service.name, role.name)
            yield RoleRow(
                name=role.name,
                prefixes=tuple(map(str, role.prefixes)),
                holders=tuple(allocation.id for allocation, _ in found),
                epoch=max((s.epoch for _, s in found if s.epoch is not None), default=None),
            )


def role_lines(snapshot: Snapshot) -> Iterator[str]:
    """Yield a sentence for each role that nobody has: its clients are refused."""
    for name, service in sorted(snapshot.services.items()):
        for row in role_rows(snapshot, service):
            if not row.holders:
                yield f"{name}: nobody has its role {row.name}, so its clients are refused"
