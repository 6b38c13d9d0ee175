"""A platform and an internet around it, on one machine."""
