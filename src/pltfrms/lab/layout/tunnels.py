"""What WireGuard links need in a lab beside the platform: a wire, its addresses, a secret."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from pltfrms.lab.parts import MachineParts
from pltfrms.model.network.lab import lab_interface
from pltfrms.model.network.links import LinkKind
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.tunnels import BACKBONE_FILE, endpoint_of, tunnels_of

SECRET_PATH = f"/etc/pltfrms/{BACKBONE_FILE}"
_IPV6 = 6


def with_tunnels(platform: Platform, parts: MachineParts) -> MachineParts:
    """Return the parts of a machine of ours with what its WireGuard links need, if any.

    The endpoints need not be in one subnet: each wire has an address at either end.
    """
    if not tunnels_of(platform, parts.name):
        return parts
    # The same at every start of a lab: it protects nothing.
    secret = hashlib.sha256(f"lab {platform.name}".encode()).hexdigest()
    return replace(
        parts,
        files=(*parts.files, (SECRET_PATH, f"{secret}\n")),
        network=(*parts.network, *_wire_lines(platform, parts.name)),
    )


def _wire_lines(platform: Platform, machine: str) -> Iterator[str]:
    for link in platform.links_of(machine):
        if link.kind is not LinkKind.WIREGUARD:
            continue
        far_end = link.far_end(machine)
        ours, theirs = endpoint_of(link, machine), endpoint_of(link, far_end)
        device = lab_interface(link.towards(machine))
        options = " nodad" if ours.version == _IPV6 else ""
        peer = f"{theirs}/{theirs.max_prefixlen}"
        yield f"link set {device} up"
        yield f"address add {ours} peer {peer} dev {device}{options}"
