"""Evidence: trying combinations of releases, and recording what works, builds or breaks."""
