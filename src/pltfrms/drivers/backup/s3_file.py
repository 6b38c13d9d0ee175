"""The file that says which bucket gets backups, and with which key: for root alone."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pltfrms.drivers.private import others_may
from pltfrms.errors import UsageError

_WORDS: Final = {
    "endpoint": (r"https://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?", "https://HOST"),
    "bucket": (r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of a bucket"),
    "key": (r"[!-~]+", "an access key"),
    "secret": (r"[!-~]+", "its secret"),
    "region": (r"[A-Za-z0-9-]+", "a region, such as us-east-1"),
    "prefix": (r"[A-Za-z0-9._/-]*", "what names begin with, such as pltfrms/"),
    "style": (r"path|host", "path (HOST/BUCKET) or host (BUCKET.HOST)"),
    "ca": (r"/.+", "a file with the certificates that are believed"),
    "keep": (r"[1-9][0-9]{0,5}", "how many backups stay there"),
}
"""What may be said, with the form of its value, for machines and for people."""
_NEEDED: Final = ("endpoint", "bucket", "key", "secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Bucket:
    """A bucket, and who we are there."""

    endpoint: str
    bucket: str
    key: str
    secret: str = field(repr=False)
    region: str = "us-east-1"
    prefix: str = ""
    style: str = "path"
    ca: Path | None = None
    """None: those that the machine believes."""
    keep: int = 0
    """So many backups of a platform stay; 0: all."""


def read_s3_bucket(path: Path) -> S3Bucket:
    """Return what a file of lines such as `bucket: backups` says.

    Raises:
        UsageError: all that is wrong with it, by line; a secret is not repeated.
        OSError: it cannot be read.
    """
    if others_may(path):
        raise UsageError(f"others than its owner may read it: chmod 600 {path}")
    said: dict[str, str] = {}
    wrong = list(_read(path.read_text(), said))
    wrong += [f"{name} is missing: {_WORDS[name][1]}" for name in _NEEDED if name not in said]
    if wrong:
        raise UsageError("; ".join(wrong))
    return _bucket(said)


def _read(text: str, said: dict[str, str]) -> Iterator[str]:
    """Fill in what the lines say, and yield what is wrong with them."""
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not name or name.startswith("#"):
            continue
        form, meaning = _WORDS.get(name, ("", ""))
        if not colon or not meaning:
            yield f"line {number}: begin with one of: {', '.join(_WORDS)}, and a colon"
        elif name in said:
            yield f"line {number}: {name} is said twice"
        elif not re.fullmatch(form, value):
            yield f"line {number}: {name} must be {meaning}"
        said.setdefault(name, value)


def _bucket(said: Mapping[str, str]) -> S3Bucket:
    words = {name: value for name, value in said.items() if name not in {"ca", "keep"}}
    ca = Path(said["ca"]) if "ca" in said else None
    return S3Bucket(**words, ca=ca, keep=int(said.get("keep", 0)))
