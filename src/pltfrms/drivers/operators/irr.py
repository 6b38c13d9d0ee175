"""What the routing registries say an AS set may announce, asked with bgpq4."""

import re
import subprocess
from ipaddress import ip_network

from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.addresses import Prefix

_TIMEOUT_SECONDS = 120
_NAME = re.compile(r"([a-z0-9-]+::)?(as|rs)[a-z0-9_:-]+", re.ASCII | re.IGNORECASE)
"""Of an AS set, a route set or an ASN (RFC 2622, section 2), with or without its registry."""


def expand_as_set(as_set: str, server: str = "", sources: str = "") -> tuple[Prefix, ...]:
    """Return the prefixes of an AS set, IPv4 first, adjacent ones joined; maybe none.

    Longer ones than the internet accepts are left out.

    `server` and `sources` are those of bgpq4 (`rr.ntt.net`, `RIPE,ARIN`); empty: its own.

    Raises:
        UsageError: that is no name of an AS set.
        UnavailableError: bgpq4 is not installed, or the server does not answer.
    """
    if _NAME.fullmatch(as_set) is None:
        raise UsageError(
            f"{as_set!r} is not an AS set; say one such as AS-SHOP or RIPE::AS-SHOP"
        )
    return tuple(
        prefix
        for family, longest in (("-4", "24"), ("-6", "48"))
        for prefix in _ask(as_set, (family, "-m", longest), server, sources)
    )


def _ask(as_set: str, family: tuple[str, ...], server: str, sources: str) -> tuple[Prefix, ...]:
    command = ["bgpq4", *family, "-A", "-F", "%n/%l\\n"]
    command += ["-h", server] if server else []
    command += ["-S", sources] if sources else []
    try:
        done = subprocess.run(
            [*command, as_set],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except FileNotFoundError as error:
        raise UnavailableError("bgpq4 is not installed (Debian: bgpq4)") from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"no answer about {as_set} in {_TIMEOUT_SECONDS} s") from error
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        raise UnavailableError(f"bgpq4 failed for {as_set}: {said}")
    return tuple(ip_network(line) for line in done.stdout.split())
