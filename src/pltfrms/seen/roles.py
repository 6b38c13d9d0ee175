"""Roles of services, and who has them, for people."""

from collections.abc import Iterator
from dataclasses import dataclass

from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.roles import holders, unheard


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRow:
    """A role of a service, and who has it."""

    name: str
    prefixes: tuple[str, ...]
    holders: tuple[str, ...]
    """Allocations that are not out of contact for sure; empty: nobody has it, if `unheard` is
    empty, too."""
    epoch: int | None = None
    """The highest that they say; None: none."""
    unheard: tuple[str, ...] = ()
    """Allocations of which it is not known whether they have it."""

    @property
    def who(self) -> str:
        """Who has it, in words."""
        return " ".join(self.holders) or ("not known" if self.unheard else "nobody")

    @property
    def trouble(self) -> str:
        """That nobody is known to have it now, in words; empty: somebody is."""
        if set(self.holders) - set(self.unheard):
            return ""
        if self.holders:
            silent = ", ".join(self.holders)
            return f"{silent} had its role {self.name}, and is not heard now"
        if not self.unheard:
            return f"nobody has its role {self.name}, so its clients are refused"
        whom = ", ".join(self.unheard)
        return f"whether anybody has its role {self.name} is not known, for it is not of {whom}"


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
                unheard=unheard(snapshot, service.name, role.name),
            )


def role_lines(snapshot: Snapshot) -> Iterator[str]:
    """Yield a sentence for each role that nobody is known to have."""
    for name, service in sorted(snapshot.services.items()):
        for row in role_rows(snapshot, service):
            if row.trouble:
                yield f"{name}: {row.trouble}"
