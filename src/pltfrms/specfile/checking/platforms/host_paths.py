"""What makes no sense in paths of machines, and in those that services may read."""

from collections.abc import Iterator
from typing import Final

from pltfrms.model.services.storage import is_plain, ours_in
from pltfrms.specfile.findings import Finding, Where

_LONGEST: Final = 1000


def check_allowed(paths: tuple[str, ...]) -> Iterator[Finding]:
    """Find what a platform must not let services read of its machines."""
    for index, path in enumerate(paths):
        where: Where = ("allowed_host_paths", index)
        if path in paths[:index]:
            yield Finding(where, f"{path} is in the list twice", "keep one")
        yield from check_path(where, path)
        if is_plain(path) and ours_in(path):
            what = f"{path} would show services what is in {ours_in(path)}"
            yield Finding(where, what, "name what they need, such as /etc/ssl/certs")


def check_path(where: Where, path: str) -> Iterator[Finding]:
    """Find what is no plain absolute path."""
    if len(path.encode(errors="replace")) > _LONGEST:
        yield Finding(where, f"{path[:20]}… is too long: at most {_LONGEST} bytes fit")
    elif not is_plain(path):
        what = f"{path[:80]!r} is not a plain absolute path"
        yield Finding(where, what, "absolute, without .., // and odd signs: /srv/data")
