"""What a service may reach in the internet: text -> words of the model."""

import re
from ipaddress import ip_network

from pltfrms.model.services.outgoing import Egress, EgressMode, EgressRule
from pltfrms.specfile.findings import Finding
from pltfrms.specfile.shapes.service import EgressShape

_PORT = re.compile(r"([1-9][0-9]{0,4})/(tcp|udp)\Z")
_MAX_PORT = 65_535
_HINT = 'such as 198.18.0.0/15, 443/tcp, or "198.18.0.0/15 443/tcp"'


def build_egress(shape: EgressShape) -> tuple[Egress, list[Finding]]:
    """Return it, and what is wrong with its text."""
    rules, findings = [], []
    if "allow" in shape.model_fields_set and not shape.allow:
        what = "there is none in the list"
        findings.append(Finding(("egress", "allow"), what, "to allow nothing: egress: none"))
    for index, text in enumerate(shape.allow):
        rule = _rule(text)
        if rule is None:
            what = f"{text!r} is neither a prefix nor a port"
            findings.append(Finding(("egress", "allow", index), what, _hint(text)))
        else:
            rules.append(rule)
    mode = EgressMode(shape.mode) if shape.mode is not None else None
    return Egress(mode=mode, allow=tuple(rules)), findings


def _hint(text: str) -> str:
    """Say how it is written; of an address with bits behind its prefix, which one was meant."""
    first, *others = text.split() or [""]
    try:
        meant = " ".join((str(ip_network(first, strict=False)), *others))
    except ValueError:
        return _HINT
    return f"did you mean {meant}?" if _rule(meant) else _HINT


def _rule(text: str) -> EgressRule | None:
    """Read `[PREFIX] [PORT/PROTOCOL]`; None if it is not that."""
    words = text.split()
    port = _PORT.match(words[-1]) if words else None
    if port and int(port[1]) > _MAX_PORT:
        return None
    rest = words[:-1] if port else words
    try:
        prefix = ip_network(rest[0]) if rest else None
    except ValueError:
        return None
    if len(rest) > 1 or not words:
        return None
    return EgressRule(
        prefix=prefix,
        protocol=port[2] if port else "",
        port=int(port[1]) if port else 0,
    )
