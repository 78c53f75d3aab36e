"""Can this host do it? Findings with what to do about them, before anything is downloaded."""
