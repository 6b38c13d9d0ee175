"""What makes no sense in the operators of a platform, and in what needs two of them."""

import re
from base64 import b64decode
from collections.abc import Iterator

from pltfrms.model.network.topology import Operator, OperatorRole, Platform
from pltfrms.specfile.findings import Finding, Where, check_name

KINDS = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)
"""Public keys that OpenSSH signs with; DSA is not among them."""
_SHORTEST_BYTES = 32
_PEOPLE = 2
_PATTERN = re.compile(r"[a-z][a-z0-9-]*\*?|\*")


def check_operators(platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with operators, their keys, and the rule of two people."""
    owners: dict[str, str] = {}
    for operator in platform.operators:
        here = ("operators", operator.name)
        yield from check_name(here, operator.name)
        if not operator.keys:
            yield Finding(here, "has no key", "add a line of a .pub file", absent="")
        yield from _check_role(here, operator)
        for index, key in enumerate(operator.keys):
            where = (*here, "keys", index)
            yield from _check_key(where, key)
            if key in owners:
                what = f"is the key of {owners[key]} already"
                yield Finding(where, what, "two people have two keys")
            owners.setdefault(key, operator.name)
    yield from _check_rules(platform)


def _check_rules(platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with who may do what, alone and with another one."""
    some = [operator for operator in platform.operators if operator.role]
    if some and not any(each.role is OperatorRole.ADMIN for each in some):
        what = "none has the role admin: nobody could change the platform"
        where = ("operators", some[0].name, "role")
        yield Finding(where, what, "give one operator the role admin")
    rules = platform.guards.two_people
    for index, rule in enumerate(rules):
        if rule in rules[:index]:
            yield Finding(("guards", "two_people", index), f"{rule} stands there twice")
    if rules and len(platform.operators) < _PEOPLE:
        what = f"needs two operators, and there are {len(platform.operators)}"
        hint = "add them under operators; better three, as keys get lost"
        yield Finding(("guards", "two_people"), what, hint, absent=("operators",))


def _check_role(here: Where, operator: Operator) -> Iterator[Finding]:
    deploys = operator.role is OperatorRole.DEPLOYER
    if deploys and not operator.services:
        hint = "name them, or beginnings of their names: [web, shop-*]"
        yield Finding(here, "deploys no service", hint, absent=(*here, "services"))
    if operator.services and not deploys:
        what = "is for the role deployer alone"
        yield Finding((*here, "services"), what, "leave it out")
    for index, pattern in enumerate(operator.services):
        if _PATTERN.fullmatch(pattern) is None:
            hint = "write the name of a service, or the beginning of names: shop-*"
            yield Finding((*here, "services", index), f"{pattern!r} names no service", hint)


def _check_key(where: tuple[str | int, ...], key: str) -> Iterator[Finding]:
    kind, _, code = key.partition(" ")
    if kind not in KINDS:
        hint = f"copy one line of a .pub file; kinds: {', '.join(KINDS)}"
        yield Finding(where, "is not a public key of OpenSSH", hint)
        return
    try:
        body = b64decode(code, validate=True)
    except ValueError:
        body = b""
    # The body begins with its kind once more, after that one's length (RFC 4253, section 6.6).
    head = len(kind).to_bytes(4, "big") + kind.encode()
    if not body.startswith(head) or len(body) < len(head) + _SHORTEST_BYTES:
        yield Finding(where, f"is not a whole {kind} key", "copy one line of a .pub file")
