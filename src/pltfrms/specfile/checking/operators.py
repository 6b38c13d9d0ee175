"""What makes no sense in the operators of a platform, and in what needs two of them."""

from base64 import b64decode
from collections.abc import Iterator

from pltfrms.model.network.topology import Platform
from pltfrms.specfile.findings import Finding, check_name

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


def check_operators(platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with operators, their keys, and the rule of two people."""
    owners: dict[str, str] = {}
    for operator in platform.operators:
        here = ("operators", operator.name)
        yield from check_name(here, operator.name)
        if not operator.keys:
            yield Finding(here, "has no key", "add a line of a .pub file", absent="")
        for index, key in enumerate(operator.keys):
            where = (*here, index)
            yield from _check_key(where, key)
            if key in owners:
                what = f"is the key of {owners[key]} already"
                yield Finding(where, what, "two people have two keys")
            owners.setdefault(key, operator.name)
    rules = platform.guards.two_people
    for index, rule in enumerate(rules):
        if rule in rules[:index]:
            yield Finding(("guards", "two_people", index), f"{rule} stands there twice")
    if rules and len(platform.operators) < _PEOPLE:
        what = f"needs two operators, and there are {len(platform.operators)}"
        hint = "add them under operators; better three, as keys get lost"
        yield Finding(("guards", "two_people"), what, hint, absent=("operators",))


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
