"""Say how a node leads from the addresses of a service to what others start behind it."""

from typing import Final

from pltfrms.model.running.machine import InstanceSpec, PortRules
from pltfrms.model.services.service import ServiceSpec
from pltfrms.render.text import fill

_WORDS: Final = {4: "ip", 6: "ip6"}
_EVERYTHING: Final = "meta l4proto { tcp, udp, sctp }"


def render_detour(service: ServiceSpec, instance: InstanceSpec) -> PortRules | None:
    """Return the nftables table of the node; None if the instance is not elsewhere.

    The ports of the spec are led there, without any all of them.
    """
    if not instance.elsewhere:
        return None
    table = f"inet pltfrms_{instance.device}"
    here = {
        version: ", ".join(
            str(each.ip) for each in instance.service_addresses if each.version == version
        )
        for version in _WORDS
    }
    text = fill(
        "detour.j2",
        table=table,
        matches=[_match(port) for port in service.ports] or [_EVERYTHING],
        families=[
            {"word": _WORDS[each.version], "service": here[each.version], "there": str(each)}
            for each in instance.elsewhere
            if here[each.version]
        ],
    )
    return PortRules(text=text, strict=True, table=table)


def _match(port: str) -> str:
    number, _, protocol = port.partition("/")
    return f"{protocol} dport {number}"
