"""Debian packages: resolved by apt, unpacked as dpkg would."""
