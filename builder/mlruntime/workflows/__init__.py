"""What a verb does, from files to a result.

May import every room below it.
"""
