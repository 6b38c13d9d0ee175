"""What instances use, and what they said."""
