"""What would be if something failed: the planner itself, on a snapshot in which it has."""
