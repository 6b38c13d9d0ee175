"""Where backups of a database are, as pgBackRest is told it. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

_HTTPS: Final = 443
_WORD: Final = re.compile(r"[!-~]+")
_MEMBER: Final = re.compile(r"[a-z0-9-]+-[0-9]+")


def repository_configuration(
    told: Mapping[str, Any], place: Mapping[str, Any], stanza: str, key: str, cipher: str
) -> str:
    """Return the file of pgBackRest for the backups of one service.

    `told` is what Patroni is told, `place` where the backups are, `key` the secret that says
    who we are there (ID:SECRET), and `cipher` what opens them. ValueError: it cannot be that.
    """
    name, colon, secret = key.partition(":")
    if not (name and colon and secret):
        raise ValueError("the key of the bucket is not ID:SECRET")
    if not (_WORD.fullmatch(key) and _WORD.fullmatch(cipher)):
        raise ValueError("the key of the bucket, or the cipher, is no word of printable ASCII")
    settings, server = told["postgresql"], urlsplit(place["endpoint"])
    home = str(settings["data_dir"]).rpartition("/")[0]
    lines = {
        "repo1-type": "s3",
        "repo1-path": f"/{place['prefix']}".rstrip("/") or "/",
        "repo1-s3-endpoint": server.hostname,
        "repo1-storage-port": server.port or _HTTPS,
        "repo1-s3-bucket": place["bucket"],
        "repo1-s3-region": place["region"],
        "repo1-s3-uri-style": place["style"],
        "repo1-s3-key": name,
        "repo1-s3-key-secret": secret,
        **({"repo1-storage-ca-file": place["ca"]} if place["ca"] else {}),
        "repo1-cipher-type": "aes-256-cbc",
        "repo1-cipher-pass": cipher,
        "repo1-bundle": "y",
        "repo1-retention-full": place["keep"],
        "compress-type": "zst",
        "start-fast": "y",
        "archive-push-queue-max": place["queue"],
        "io-timeout": 20,
        "process-max": 2,
        "lock-path": f"{home}/run",
        "spool-path": f"{home}/run",
        "log-level-file": "off",
        "log-level-console": "warn",
    }
    own = {
        "pg1-path": settings["data_dir"],
        "pg1-socket-path": settings["parameters"]["unix_socket_directories"],
        "pg1-user": settings["authentication"]["superuser"]["username"],
    }
    return f"[global]\n{_lines(lines)}\n[{stanza}]\n{_lines(own)}"


def _lines(settings: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def members_in(hosts: str, service: str) -> tuple[str, ...]:
    """Return the names of a service's replicas, in full, as a file of hosts has them."""
    found = set[str]()
    for line in hosts.splitlines():
        words = line.partition("#")[0].split()[1:]
        for full in words:
            member, _, rest = full.partition(".")
            if _MEMBER.fullmatch(member) and rest.startswith(f"{service}."):
                found.add(full)
    return tuple(sorted(found))
