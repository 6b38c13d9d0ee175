"""What vantage points ask, how they count, and what follows for clients."""
