"""The compatibility facts: components, releases, rules; read, checked, shown, changed.

May import documents and solver.

Plain values, no effects.
"""
