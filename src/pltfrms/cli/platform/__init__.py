"""The platform as a whole: status, events, and what talks to nobody."""
