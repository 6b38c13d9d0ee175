"""What edges announce, accept and put in force, and why."""
