"""A first ``runtime.yaml`` from files of other tools, and what of them could not be taken over."""
