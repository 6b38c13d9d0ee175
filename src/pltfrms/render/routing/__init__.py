"""Parts of the BIRD configuration of our machines."""
