"""From a request to versions, with the reason for each, or why there are none.

May import matrix and documents.

Plain values, no effects.
"""
