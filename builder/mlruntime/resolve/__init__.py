"""From a request to versions, with the reason for each, or why there are none.

Plain values, no effects. May import the matrix.
"""
