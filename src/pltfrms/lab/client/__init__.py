"""A lab as seen from outside: started, found, asked, measured, ended."""
