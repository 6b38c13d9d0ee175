"""How the store stays alive and small, and comes back."""
