"""Releases: publishing a validated image with signed documents, and verifying one."""
