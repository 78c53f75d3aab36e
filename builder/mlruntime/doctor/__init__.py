"""Whether this host can build, test and run images, and what to do if not."""
