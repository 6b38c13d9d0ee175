"""Text for daemons and kernel state, from words. Pure."""
