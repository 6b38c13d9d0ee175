"""Who is in contact, and what one controller knows now."""
