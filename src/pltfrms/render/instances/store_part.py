"""Say to an instance where and how its part of the store is asked."""

import json

from pltfrms.model.network.controllers import controllers_for
from pltfrms.model.network.topology import Platform
from pltfrms.model.services.gates import gate_of
from pltfrms.model.services.parts import ROOTS_FILE, part_of


def render_store_part(platform: Platform, machine: str, service: str, *, secure: bool) -> str:
    """Return as JSON what a program on a machine needs, beside its password.

    The gates are those that are near first; `roots` is the file beside it with whom to believe.
    """
    said = {
        "prefix": part_of(service),
        "user": service,
        "protocol": "https" if secure else "http",
        "hosts": [
            gate_of(platform, each, secure=secure)
            for each in controllers_for(platform, machine)
        ],
        "roots": ROOTS_FILE if secure else None,
    }
    return json.dumps(said, indent=1) + "\n"
