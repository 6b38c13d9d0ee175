"""What travels between command line, agents, controllers and store."""
