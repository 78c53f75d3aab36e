"""From a resolution to a lock: one module per ecosystem, and ``assemble`` that joins them."""
