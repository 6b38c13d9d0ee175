"""What comes from people outside: signatures of operators, routing registries."""
