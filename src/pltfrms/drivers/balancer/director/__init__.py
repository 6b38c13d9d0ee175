"""The director's program: its source for the kernel, and a model of it in Python."""
