"""What makes no sense in the zones that an instance is to answer from."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from pltfrms.model.network.topology import Platform
from pltfrms.model.services.names import (
    ZONES_DIRECTORY,
    ZoneUse,
    domain_of,
    is_domain,
    is_within,
)
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile.findings import Finding

_HERE = ("run", "zones")


def check_zones(spec: ServiceSpec) -> Iterator[Finding]:
    """Find what is wrong with them, whatever the platform."""
    use = spec.run.zones
    if use is None:
        return
    yield from _check_use(use)
    if not is_domain(spec.name):
        what = f"{spec.name[:70]!r} is no name that a host may have"
        yield Finding(("service",), what, "without a - at its end")
    for name, _ in (*spec.run.files, *spec.run.binary):
        if PurePosixPath(name).parts[:1] == (ZONES_DIRECTORY,):
            what = f"{ZONES_DIRECTORY} is where the zones are, which are written by pltfrms"
            yield Finding(("run", "files", name), what, "give it another name")


def _check_use(use: ZoneUse) -> Iterator[Finding]:
    if not use.reload or not use.reload[0]:
        what = "there is no command"
        yield Finding((*_HERE, "reload"), what, "such as [nsd-control, -c, nsd.conf, reload]")
    for index, word in enumerate(use.reload):
        if "\0" in word or any("\ud800" <= letter <= "\udfff" for letter in word):
            what = "has characters that no program can be given"
            yield Finding((*_HERE, "reload", index), what)
    for index, name in enumerate(use.servers):
        if not is_domain(name):
            what = f"{name[:70]!r} is no name of a server"
            yield Finding((*_HERE, "servers", index), what, "such as ns2.example.net")


def check_zones_here(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Find what is wrong with them on a platform."""
    use, domain = spec.run.zones, domain_of(platform)
    if use is None:
        return
    if not is_domain(domain):
        what = f"no host may be in {domain}"
        yield Finding(_HERE, what, "give the platform a domain")
    for index, name in enumerate(use.servers):
        if is_within(name, domain):
            what = f"{name} is in {domain}, where services alone have addresses"
            yield Finding((*_HERE, "servers", index), what, "give it a name elsewhere")
