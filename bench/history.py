"""Whether writes by the API are linearizable while members are killed, paused and cut off.

As root: python -m bench.history [--rounds 60]. One round takes 5 s. Prints one JSON document;
exit code 1 if a history fits no order, which is a lost write, or a stale one that won.
"""

import argparse
import json
import sys
from pathlib import Path

from pltfrms.errors import InvariantError
from tests.contracts.history import record
from tests.namespaces import in_machine


def main() -> int:
    """Record a history, and check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="faults, one after the other")
    rounds = parser.parse_args().rounds

    async def scenario() -> None:
        history = await record(Path("/mnt"), rounds)
        wrong = history.wrong()
        gap = round(history.longest_gap_seconds, 2)
        print(json.dumps({**history.counts, "longest_gap_seconds": gap, "wrong": wrong}))
        sys.stdout.flush()
        if wrong:
            raise InvariantError(f"no order explains what was seen of {', '.join(wrong)}")

    try:
        in_machine(scenario)
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
