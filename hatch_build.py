"""Compile the director's program into wheels, and beside the source of editable installs.

The page is a part of them where `make page` has built it.
"""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OBJECT = "src/pltfrms/drivers/balancer/director/director.bpf.o"
PAGE = "src/pltfrms/page/**"


class CompileDirector(BuildHookInterface):  # type: ignore[type-arg]  # any configuration
    """What hatchling calls before it makes a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile what is not there yet; CalledProcessError if that is not possible."""
        del version
        subprocess.run([Path(self.root, "scripts", "compile-director")], check=True)
        build_data["artifacts"] += [OBJECT, PAGE]
