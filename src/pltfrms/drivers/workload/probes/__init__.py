"""Whether instances can serve."""
