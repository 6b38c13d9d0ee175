"""What an operator's change does to traffic, who may make it, and what forbids it."""
