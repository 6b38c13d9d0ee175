"""Variables of a spec that name another service: `${pltfrms.service.NAME.address6}`."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from pltfrms.model.services.service import Run, Service

_FIELDS: Final = ("address6", "address4", "prefix6", "prefix4")
SERVICE_VARIABLES: Final = tuple(f"service.NAME.{field}" for field in _FIELDS)
_NAME: Final = re.compile(rf"service\.([a-z][a-z0-9-]{{0,30}})\.({'|'.join(_FIELDS)})\Z")
_USE: Final = re.compile(r"\$\{pltfrms\.(service\.[^}\n]{0,60})\}")


def referred(variable: str) -> tuple[str, str]:
    """Return which service and what of it a variable names; empty if it does not name one."""
    match = _NAME.match(variable)
    return (match[1], match[2]) if match else ("", "")


def references_of(run: Run) -> tuple[str, ...]:
    """Return the variables that name services, each once, as they stand in the spec."""
    return tuple(dict.fromkeys(use for text in texts_of(run) for use in _USE.findall(text)))


def named_by(run: Run) -> tuple[str, ...]:
    """Return the services that are named, each once."""
    return tuple(dict.fromkeys(referred(each)[0] for each in references_of(run)))


def value_of(variable: str, services: Mapping[str, Service]) -> tuple[str, str]:
    """Return what a variable stands for, or why it stands for nothing."""
    name, field = referred(variable)
    service = services.get(name)
    if not name:
        return "", "there is no such variable"
    if service is None:
        return "", f"there is no service {name}"
    prefix = service.prefix6 if field.endswith("6") else service.prefix4
    if prefix is None:
        return "", f"service {name} has no IPv{field[-1]}"
    return str(prefix if field.startswith("prefix") else prefix.network_address), ""


def texts_of(run: Run) -> Iterator[str]:
    """Yield all in which variables are replaced."""
    yield from run.words
    for _, text in (*run.files, *run.environment):
        yield text
