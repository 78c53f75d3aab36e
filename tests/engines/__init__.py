"""The product on container engines other than this machine's own, started for these tests."""
