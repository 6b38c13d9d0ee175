"""What is decided, what was observed, and what a machine is made of."""
