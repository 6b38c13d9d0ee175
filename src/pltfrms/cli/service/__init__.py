"""Services: plan, apply, list, explain, and requests that need two people."""
