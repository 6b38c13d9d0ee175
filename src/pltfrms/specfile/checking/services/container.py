"""What makes no sense in a container, or would give it more than a container gets."""

import re
from collections.abc import Iterator
from typing import Final

from pltfrms.model.services.container import ULIMITS, Container
from pltfrms.specfile.findings import Finding, Where, nearest

_HOST: Final = re.compile(
    r"(?=[^/]*[.:]|localhost\Z)[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?\Z"
)
_PART: Final = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*\Z")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")
_USER: Final = re.compile(r"([0-9]{1,10})(?::([0-9]{1,10}))?\Z")
_MAX_ID: Final = 2**32 - 2
_LONGEST: Final = 255
_EXAMPLE: Final = "such as registry.example/shop/web@sha256:…"


def container_findings(container: Container) -> Iterator[Finding]:
    """Yield everything that is wrong with a container by itself."""
    yield from _check_image(container.image)
    yield from check_user(("run", "user"), container.user)
    for index, name in enumerate(container.capabilities):
        if name in container.capabilities[:index]:
            where = ("run", "capabilities", index)
            yield Finding(where, f"{name} is in the list twice", "keep one")
    for name, limit in container.ulimits:
        if name not in ULIMITS:
            yield Finding(("run", "ulimits", name), "unknown limit", nearest(name, ULIMITS))
        elif not 0 <= limit < 2**63:
            yield Finding(("run", "ulimits", name), f"{limit} is outside 0..{2**63 - 1}")


def _check_image(image: str) -> Iterator[Finding]:
    where = ("run", "image")
    name, at, digest = image.partition("@")
    host, _, path = name.partition("/")
    parts = path.split("/")
    if len(name) > _LONGEST:
        yield Finding(where, f"the name is longer than {_LONGEST} characters")
    elif not _HOST.match(host):
        what = f"{host[:60]!r} is not a registry: a host with a dot or a port"
        yield Finding(where, what, _EXAMPLE)
    elif ":" in parts[-1] and all(map(_PART.match, (*parts[:-1], parts[-1].split(":")[0]))):
        what = "it names a tag, which may be another image tomorrow"
        hint = f"skopeo inspect docker://{name} says its Digest: write NAME@sha256:… without it"
        yield Finding(where, what, hint)
    elif not all(map(_PART.match, parts)):
        yield Finding(where, f"{path[:60]!r} is not the name of an image", _EXAMPLE)
    elif not at or not _DIGEST.match(digest):
        what = f"{digest[:80]!r} is not a digest" if at else "it has no digest"
        hint = f"skopeo inspect docker://{name} says it: sha256: and 64 digits 0-9, a-f"
        yield Finding(where, what, hint)


def check_user(where: Where, user: str) -> Iterator[Finding]:
    """Find a user that is said by anything but numbers; empty is none."""
    if not user:
        return
    match = _USER.match(user)
    if match is None or any(int(number) > _MAX_ID for number in match.groups("0")):
        what = f"{user[:40]!r} is not a user"
        yield Finding(where, what, "numbers: UID or UID:GID, such as 1000:1000")
