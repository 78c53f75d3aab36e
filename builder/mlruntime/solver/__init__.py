"""A solver for small finite domains that knows nothing of components. Imports nothing of ours."""
