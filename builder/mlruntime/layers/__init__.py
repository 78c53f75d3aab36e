"""A layer as bytes: deterministic tar headers, gzip members, one writer.

May import errors only. What goes into a layer is in ``image.sources``.
"""
