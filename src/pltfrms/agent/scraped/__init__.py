"""What an agent tells Prometheus of its own machine."""
