"""What somebody who comes over the network may ask of a controller.

What is not named here is refused. A machine may see its own target, say how it is, end leases
of what has ended there, and renew its certificate. A controller may ask everything: it has the
store. What a machine is stands in the platform, never in its certificate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pltfrms.model.identity.words import (
    MachineKey,
    ShownCertificate,
    controller_of,
    joins_of,
    machine_of,
)
from pltfrms.model.network.topology import Platform, Role
from pltfrms.planner.identity.roles import PART_QUESTIONS

_ANYBODY: Final = frozenset(
    {
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/v1/identity/roots"),
        ("POST", "/v1/identity/join"),
        ("POST", "/v1/identity/nonce"),
        ("POST", "/v1/identity/return"),
        ("GET", "/v1/login"),
        ("POST", "/v1/login"),
        *PART_QUESTIONS,
    }
)
_MACHINES: Final = frozenset(
    {
        ("POST", "/v1/heartbeats"),
        ("POST", "/v1/leases"),
        ("POST", "/v1/identity/renewal"),
        ("POST", "/v1/identity/leave"),
        ("POST", "/v1/vantage/reports"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whether a question is let in."""

    machine: str = ""
    """Who asks, as far as it may only ask about itself; empty: about anything."""
    refusal: str = ""
    """Why not; empty: it is."""
    controller: str = ""
    """Which controller asks; empty: none does."""


def decide_access(
    method: str,
    path: str,
    shown: ShownCertificate | None,
    platform: Platform,
    keys: Mapping[str, MachineKey],
) -> Access:
    """Return whether a question may be asked by who shows this certificate, or none."""
    if (method, path) in _ANYBODY:
        return Access()
    if shown is None:
        return Access(
            refusal="it shows no certificate; a machine gets one by: pltfrms join TOKEN"
        )
    name = _machine_of(shown, platform)
    refusal = why_void(shown, platform, keys)
    if refusal:
        return Access(machine=name, refusal=refusal)
    if platform.machine(name).has(Role.CONTROLLER):
        return Access(controller=name)
    if (method, path) in _MACHINES or (method, path) == ("GET", f"/v1/targets/{name}"):
        return Access(machine=name)
    return Access(machine=name, refusal=f"{name} may see its own target and say how it is only")


def why_void(
    shown: ShownCertificate, platform: Platform, keys: Mapping[str, MachineKey]
) -> str:
    """Return why a certificate that is in order is not one of our machines; empty: it is.

    Whoever has signed it: without the machine's recorded key it is worth nothing, and with it
    the machine would get another one.
    """
    name = _machine_of(shown, platform)
    if not name:
        return f"it shows a certificate of no machine of {platform.name}"
    if name not in {machine.name for machine in platform.managed}:
        return f"{platform.name} has no machine {name} any more"
    known = keys.get(name)
    if known is None or not known.public_key:
        return f"{name} has not joined since it is in the platform"
    if joins_of(shown.serial) != known.joins:
        return f"{name} has joined again since this certificate was made"
    if not known.has(shown.public_key):
        return f"{name} has joined with another key than that of this certificate"
    return ""


def why_unsigned(issuer: str, platform: Platform) -> str:
    """Return why an authority signs nothing for a platform, or not any more; empty: it does.

    For who knows controllers by their names alone. An authority outlives the removal of its
    controller by up to a year.
    """
    controllers = {machine.name for machine in platform.machines_of(Role.CONTROLLER)}
    if controller_of(issuer) in controllers:
        return ""
    return f"it is signed by {issuer!r}, which is of no controller of {platform.name}"


def _machine_of(shown: ShownCertificate, platform: Platform) -> str:
    """Return the only machine that a certificate names; who names two is nobody."""
    return machine_of(shown.uris[0], platform.name) if len(shown.uris) == 1 else ""


def may_look(shown: ShownCertificate | None, platform: Platform) -> bool:
    """Return whether who shows this may look into our machines: controllers may.

    A machine knows no serial numbers, so that a controller's older certificate is good here
    until it expires.
    """
    if shown is None or why_unsigned(shown.issuer, platform):
        return False
    name = _machine_of(shown, platform)
    return name in {machine.name for machine in platform.machines_of(Role.CONTROLLER)}
