"""What instances and registries are told of secrets: the only place where values are plain."""

import base64
import json
from dataclasses import replace
from pathlib import Path

from pltfrms.drivers.sealing import NodeKey
from pltfrms.drivers.workload.instance.wishes import Kept
from pltfrms.errors import UsageError
from pltfrms.model.running.machine import InstanceSecret, InstanceSpec
from pltfrms.model.services.secrets import SECRETS_DIRECTORY


def opened(
    spec: InstanceSpec, key: NodeKey, directory: Path
) -> tuple[InstanceSpec, Kept | None]:
    """Return a spec whose environment has the secrets that are variables, and those in files.

    `directory` has the files of the spec; those of secrets are in memory that is mounted in it.

    Raises:
        UsageError: a secret cannot be opened, or be a variable; nothing of it is said.
    """
    variables: list[tuple[str, str]] = []
    files: list[tuple[str, int, str]] = []
    for each in (given for given in spec.secrets if not given.use.registry):
        use, value = each.use, _value(each, key)
        if use.variable:
            variables.append((use.variable, _as_text(use.name, value)))
        if use.file:
            files.append((use.file, use.mode, base64.b64encode(value).decode()))
    told = replace(spec, secrets=(), environment=(*spec.environment, *variables))
    place = str(directory / SECRETS_DIRECTORY)
    return told, {"directory": place, "files": files} if files else None


def credentials(spec: InstanceSpec, key: NodeKey, image: str) -> str:
    """Return what podman shows the registry of an image, as a file of its own; empty: nothing.

    Raises:
        UsageError: there is something for it that cannot be used; nothing of it is said.
    """
    given = next((each for each in spec.secrets if each.use.registry), None)
    if given is None:
        return ""
    name, value = given.use.name, _value(given, key).strip(b"\n")
    if not all(value.partition(b":")):
        raise UsageError(f"secret {name} is not user:password, as registries want it")
    said = {"auth": base64.b64encode(value).decode()}
    return json.dumps({"auths": {image.partition("/")[0]: said}})


def _value(given: InstanceSecret, key: NodeKey) -> bytes:
    if not given.sealed:
        raise UsageError(f"value {given.version} of secret {given.use.name} is not known here")
    try:
        return key.open(given.sealed, given.about)
    except UsageError as error:
        raise UsageError(f"secret {given.use.name}: {error}") from error


def _as_text(name: str, value: bytes) -> str:
    """Return what a variable says: without the newline at the end that commands write."""
    try:
        text = value.decode().removesuffix("\n")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UsageError(f"secret {name} is no text, so it can only be a file") from None
    return text
