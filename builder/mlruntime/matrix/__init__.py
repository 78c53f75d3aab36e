"""The compatibility facts: components, releases, rules; read, checked, shown, changed.

Plain values, no effects. May import the solver and documents.
"""
