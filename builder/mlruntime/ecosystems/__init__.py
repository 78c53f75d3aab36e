"""Where packages come from, and how they are unpacked: one folder for each ecosystem.

May import definitions, fetch, engine, lock, host, layers, matrix, store and documents. No
ecosystem imports another one.
"""
