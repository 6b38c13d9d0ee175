"""Run in a machine of a lab: start a registry there, push images, and say what they are called.

    python -m tests.live.images VERSION ...

The first word is the registry's pid; the others are names without the registry. The program of
each image is called as its version, and says to everybody what its first argument is.
"""

import sys
import tempfile
from pathlib import Path

from tests.registry import HOST, push, start_registry, tiny_server

PORT = 5000


def main(log: Path | None = None) -> None:
    """Start, push, print; with `log`, the registry says there whom it answered."""
    directory = Path(tempfile.mkdtemp())
    registry, program = start_registry(directory, f":{PORT}", log=log), tiny_server(directory)
    said = [str(registry.pid)]
    for version in sys.argv[1:]:
        name = push("shop/box", {version: program}, entrypoint=(f"/{version}",), user="1000")
        said.append(name.removeprefix(f"{HOST}/"))
    sys.stdout.write(" ".join(said))


if __name__ == "__main__":
    main()
