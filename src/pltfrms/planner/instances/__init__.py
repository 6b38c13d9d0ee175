"""One node's instances: what they are, when they are ready, which routes they get."""
