"""The machine's BIRD: what it announces and accepts, and how that changes."""
