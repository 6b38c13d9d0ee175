"""What makes no sense in a container, or would give it more than a container gets."""

import re
from collections.abc import Iterator
from typing import Final

from pltfrms.model.services.container import ULIMITS, Container, tag_of
from pltfrms.model.services.service import Run
from pltfrms.specfile.findings import Finding, Where, nearest

_HOST: Final = re.compile(
    r"(?=[^/]*[.:]|localhost\Z)[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?\Z"
)
_PART: Final = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*\Z")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
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
    tag = tag_of(image)
    parts = (path.removesuffix(f":{tag}") if tag else path).split("/")
    if len(name) > _LONGEST:
        yield Finding(where, f"the name is longer than {_LONGEST} characters")
    elif not _HOST.match(host):
        what = f"{host[:60]!r} is not a registry: a host with a dot or a port"
        yield Finding(where, what, _EXAMPLE)
    elif at and all(map(_PART.match, path.partition(":")[0].split("/"))) and ":" in path:
        yield Finding(where, "it names a tag beside the digest", "leave the tag out")
    elif not all(map(_PART.match, parts)):
        yield Finding(where, f"{path[:60]!r} is not the name of an image", _EXAMPLE)
    elif tag and not _TAG.match(tag):
        yield Finding(where, f"{tag[:60]!r} is not a tag", _EXAMPLE)
    elif not tag and not _DIGEST.match(digest):
        what = f"{digest[:80]!r} is not a digest" if at else "it has no digest and no tag"
        hint = f"skopeo inspect docker://{name} says it: sha256: and 64 digits 0-9, a-f"
        yield Finding(where, what, hint)


def tag_findings(run: Run) -> Iterator[Finding]:
    """Find a tag where the image itself has to be named: everywhere but in files."""
    if run.container is not None and tag_of(run.container.image):
        what = "it names a tag, which may be another image tomorrow"
        yield Finding(("run", "image"), what, "`pltfrms apply` of a file asks what it is now")


def check_user(where: Where, user: str) -> Iterator[Finding]:
    """Find a user that is said by anything but numbers; empty is none."""
    if not user:
        return
    match = _USER.match(user)
    if match is None or any(int(number) > _MAX_ID for number in match.groups("0")):
        what = f"{user[:40]!r} is not a user"
        yield Finding(where, what, "numbers: UID or UID:GID, such as 1000:1000")
