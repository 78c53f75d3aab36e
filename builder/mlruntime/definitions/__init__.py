"""What a team writes down: the files below ``--root``, and what a runtime asks for.

May import the matrix, and the host contract of a lock.
"""
