"""Run the command line: `python -m pltfrms`."""

import sys

from pltfrms.cli.main import main

sys.exit(main())
