"""Waiting until the file system has forgotten what was deleted on it."""

import os
import sys
import time

# ext4 passes over inodes that were deleted a short while ago, one by one, whenever it makes a
# file: for 60 s, and 300 s more while the deletion has not reached its place on the disk
# (recently_deleted in Linux' fs/ext4/ialloc.c). After a container with a system in it is gone,
# making the next one takes three times as long.
SECONDS = 370


def settle() -> None:
    """Wait, so that what runs next does not pay for what ran before."""
    print(f"waiting {SECONDS} s for the file system", file=sys.stderr, flush=True)
    os.sync()
    time.sleep(SECONDS)
