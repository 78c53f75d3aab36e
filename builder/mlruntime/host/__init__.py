"""This machine: the settings of its package managers, its commands, its GPUs.

May import errors only.
"""
