"""Say what edges answer while nobody has a role."""

from collections.abc import Iterable
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.render.text import fill

ROLES_TABLE: Final = "inet pltfrms_roles"
"""The nftables table that is ours alone."""
_WORDS: Final = {4: "ip", 6: "ip6"}


def render_roles(prefixes: Iterable[Prefix]) -> str:
    """Return the nftables table of an edge for roles with these prefixes; empty without any."""
    every = sorted(set(prefixes), key=lambda each: (each.version, each))
    if not every:
        return ""
    found = (
        (word, ", ".join(str(p.network_address) for p in every if p.version == version))
        for version, word in _WORDS.items()
    )
    families = tuple(pair for pair in found if pair[1])
    return fill("roles.j2", table=ROLES_TABLE, families=families)
