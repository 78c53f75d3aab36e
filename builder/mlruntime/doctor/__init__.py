"""Whether this host can build, test and run images, and what to do if not.

May import engine, lock and host.
"""
