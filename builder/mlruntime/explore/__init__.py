"""Evidence for combinations of releases: what works together, what only builds, what breaks."""
