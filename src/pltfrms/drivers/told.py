"""What the agent of this machine was told last, for other programs of ours on it."""

from pathlib import Path
from typing import Final

from pltfrms.codec import decode
from pltfrms.errors import UsageError
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.plan import Target

BEGUN_FILE: Final = "store-begun"
"""In the directory of the state: the store was made. Outlives the data of its member here."""
_TARGET_FILE: Final = "target.json"


def told_platform(state: Path) -> Platform | None:
    """Return the platform of the last target; None: there is none, or it cannot be read."""
    try:
        return decode(Target, (state / _TARGET_FILE).read_bytes()).platform
    except (OSError, UsageError):
        return None


def is_controller(platform: Platform | None, machine: str) -> bool:
    """Return whether a machine is a controller of a platform, as far as one is known."""
    return platform is not None and any(
        each.name == machine for each in platform.machines_of(Role.CONTROLLER)
    )
