"""A solver for small finite domains. It knows no components, and imports no other room."""
