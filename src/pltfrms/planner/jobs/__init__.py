"""When jobs run, on which node, and how that ended."""
