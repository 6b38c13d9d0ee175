"""A client with long-lived flows, in the machine where it is started; for `test_b_director`.

Arguments: its own addresses, `--`, the service's. On standard input comes one JSON list per
line, a method of `Client` and its arguments; on standard output goes what it returns.
"""

import json
import sys
from dataclasses import asdict, is_dataclass
from ipaddress import ip_address
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.balancer.flows import Client


def main() -> None:
    """Answer until standard input is closed."""
    split = sys.argv.index("--")
    sources = [ip_address(word) for word in sys.argv[1:split]]
    client = Client(sources, sys.argv[split + 1 :], pause_seconds=0.5)
    for line in sys.stdin:
        method, *words = json.loads(line)
        value = getattr(client, method)(*words)
        shown = asdict(value) if is_dataclass(value) else value  # type: ignore[arg-type] # no class
        print(json.dumps(shown), flush=True)  # noqa: T201 - that is how it answers


if __name__ == "__main__":
    main()
