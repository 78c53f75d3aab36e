"""The store: where it is, who uses what, and moving it to another host."""
