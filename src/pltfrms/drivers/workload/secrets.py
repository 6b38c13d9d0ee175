"""What an instance is told of secrets when it starts: the only place where values are plain."""

import base64
from dataclasses import replace
from pathlib import Path

from pltfrms.drivers.sealing import NodeKey
from pltfrms.drivers.workload.wishes import Kept
from pltfrms.errors import UsageError
from pltfrms.model.running.machine import InstanceSpec
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
    for each in spec.secrets:
        use = each.use
        try:
            value = key.open(each.sealed, each.about)
        except UsageError as error:
            raise UsageError(f"secret {use.name}: {error}") from error
        if use.variable:
            variables.append((use.variable, _as_text(use.name, value)))
        if use.file:
            files.append((use.file, use.mode, base64.b64encode(value).decode()))
    told = replace(spec, secrets=(), environment=(*spec.environment, *variables))
    place = str(directory / SECRETS_DIRECTORY)
    return told, {"directory": place, "files": files} if files else None


def _as_text(name: str, value: bytes) -> str:
    """Return what a variable says: without the newline at the end that commands write."""
    try:
        text = value.decode().removesuffix("\n")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UsageError(f"secret {name} is no text, so it can only be a file") from None
    return text
