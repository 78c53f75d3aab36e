"""Measurements behind docs/performance.md. Ratios within one run; no test asserts a time."""
