"""Whether one more failure is survived, and if not, which and why."""
