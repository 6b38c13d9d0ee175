"""BIRD, the routing daemon: its configuration, control socket and archive."""
