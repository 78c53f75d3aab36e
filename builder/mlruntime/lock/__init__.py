"""The lock: every artifact of a runtime by sha256, and what an image requires of its host.

May import documents.

Plain values, no effects.
"""
