"""ROAs as validators export them."""

import json
from ipaddress import ip_network
from pathlib import Path

from pltfrms.errors import UsageError
from pltfrms.model.network.peering import Roa


def read_roas(path: Path) -> tuple[Roa, ...]:
    """Return the ROAs of a file; UsageError if it is another kind of file."""
    try:
        document = json.loads(path.read_text())
        return tuple(
            Roa(
                prefix=ip_network(entry["prefix"]),
                asn=int(str(entry["asn"]).upper().removeprefix("AS")),
                max_length=int(entry["maxLength"]),
            )
            for entry in document["roas"]
        )
    except (ValueError, KeyError, TypeError) as error:
        what = f'{path} is not like {{"roas": [{{"prefix", "asn", "maxLength"}}]}}'
        raise UsageError(f"{what}: {type(error).__name__} {error}") from error
