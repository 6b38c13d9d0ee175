"""How instances of a service use secrets and the store, as YAML."""

import re
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from pltfrms.model.services.secrets import Generate, OnChange, SecretUse
from pltfrms.specfile.shapes.shapes import Shape
from pltfrms.specfile.shapes.units import default, one_of, said, wrong

_MODE = re.compile(r"0?[0-7]{3}\Z")
_USE = SecretUse(name="")


def _as_mode(value: object) -> object:
    number = isinstance(value, int) and not isinstance(value, bool)
    text = str(value) if number else value
    if not isinstance(text, str) or not _MODE.match(text):
        raise wrong(
            f"{value!r} is not the mode of a file", 'three octal digits, such as "0400"'
        )
    return int(text, 8)


ModeText = Annotated[
    int,
    PlainValidator(_as_mode),
    WithJsonSchema({"type": "string", "pattern": "^0?[0-7]{3}$", "examples": ["0400"]}),
]


class SecretShape(Shape):
    """How an instance is given a secret: as a variable, a file, or both."""

    variable: str = said()
    """Name of an environment variable."""
    file: str = said()
    """Name of a file in `secrets` of the working directory; in a container, in
    /run/pltfrms/secrets. It is in memory that only the instance sees."""
    mode: ModeText = default(_USE.mode, "0400")
    """Mode of the file, which belongs to the user that the instance runs as."""
    on_change: Annotated[str, *one_of(*OnChange)] = _USE.on_change.value
    """What happens when the secret gets another value: restart (a rollout, as for a new
    version), nothing (who is started later has it), or signal HUP, USR1 or USR2: its file
    is replaced, and the instance gets that signal."""
    generate: Annotated[str, *one_of(Generate.PASSWORD, Generate.AUTHORITY)] = said()
    """If there is no such secret when the service is applied, controllers make it: a password,
    or an authority, whose certificate alone is the secret NAME-ca. Nobody sees the value."""
    registry: bool = _USE.registry
    """Its value, `user:password`, is for the registry of the image, and no instance gets it. It
    is used when an image is fetched, so nothing happens when there is another value."""


class StoreShape(Shape):
    """A part of the platform's store, for programs that elect a primary by etcd."""

    secret: str
    """Which of the `secrets` is the password. The user is the name of the service."""
    end_leases: bool = False
    """Whether leases of an instance that is known to be dead end at once."""
