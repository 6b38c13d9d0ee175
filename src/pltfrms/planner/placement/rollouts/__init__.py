"""How a new version comes to the replicas, and how it is judged."""
