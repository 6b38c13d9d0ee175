"""Who gets a flow: the rows of the director, and why."""
