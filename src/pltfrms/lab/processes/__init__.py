"""The lab's own processes: how they fork, talk, and how long others wait for them."""
