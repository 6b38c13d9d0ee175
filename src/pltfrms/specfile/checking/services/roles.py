"""What makes no sense in the roles of a service."""

import re
from collections.abc import Iterator

from pltfrms.model.services.service import RoleSpec, ServiceSpec
from pltfrms.specfile.checking.services.clients import check_port_list
from pltfrms.specfile.checking.services.probe import check_probe
from pltfrms.specfile.findings import Finding, Where, check_name

_MOST_ROLES = 8
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,99}\Z")
_FIELD = re.compile(r"\.[A-Za-z_][A-Za-z0-9_.-]{0,99}\Z")


def check_roles(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield what is wrong with the roles of a service by themselves."""
    if len(spec.roles) > _MOST_ROLES:
        what = f"has {len(spec.roles)} roles, at most {_MOST_ROLES} fit"
        yield Finding(("roles",), what)
    if spec.roles and spec.run.adopted is not None:
        what = "others start it, in the machine's own network, where it has no roles"
        yield Finding(("roles",), what, "leave it out")
    for role in spec.roles:
        where = ("roles", role.name)
        yield from check_name(where, role.name)
        yield from check_probe(where, role.probe)
        yield from check_port_list((*where, "ports"), role.ports)
        yield from _check_epoch((*where, "epoch"), role)


def _check_epoch(where: Where, role: RoleSpec) -> Iterator[Finding]:
    epoch = role.probe.epoch
    if not epoch:
        return
    if role.shared:
        what = "any number of instances may have a role that is shared"
        yield Finding(where, what, "leave one of epoch and shared out")
    if epoch.startswith("."):
        if not _FIELD.match(epoch):
            yield Finding((*where, "field"), "is not the name of a field", "such as timeline")
    elif not _HEADER.match(epoch):
        what = f"{epoch[:60]!r} is not the name of a header"
        yield Finding((*where, "header"), what, "such as X-Epoch")
