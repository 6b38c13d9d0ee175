"""Where backups are kept, and how nobody else reads them."""
