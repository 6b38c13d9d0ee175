"""The operator's network as it is written, and what follows from it alone."""
