"""What a team writes down: the files below ``--root``, and what a runtime asks for.

May import lock, matrix and documents.
"""
