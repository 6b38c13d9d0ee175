"""What runs a lab from inside: its first processes, its daemon, and what faults do."""
