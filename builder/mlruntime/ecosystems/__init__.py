"""Where packages come from, and how they are unpacked: one folder for each ecosystem.

May import lock, layers, engine, fetch, store and host; no ecosystem imports a stage.
"""
