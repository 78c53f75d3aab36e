"""A layer as bytes: deterministic tar headers, gzip members, one writer. Imports errors only."""
