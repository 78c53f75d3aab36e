"""Runs as root in a node's container: says which words pass its network interface readably.

``WORD…``: it listens until it has seen the last of them, and two seconds more. The words that it
has seen are the JSON on its last line, after a line that says that it listens.
"""

import json
import socket
import sys
import time

EVERY_PROTOCOL, LARGEST, LONGEST_SECONDS = 0x0003, 1 << 16, 60.0


def main() -> None:
    words = [word.encode() for word in sys.argv[1:]]
    seen: set[bytes] = set()
    deadline = time.monotonic() + LONGEST_SECONDS
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL)) as ear:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        ear.bind(("eth0", EVERY_PROTOCOL))
        print("listening", flush=True)
        while (left := deadline - time.monotonic()) > 0:
            ear.settimeout(left)
            try:
                frame = ear.recv(LARGEST)
            except TimeoutError:
                break
            found = {word for word in words if word in frame} - seen
            if words[-1] in found:
                deadline = time.monotonic() + 2
            seen |= found
    print(json.dumps([word.decode() for word in words if word in seen]), flush=True)


if __name__ == "__main__":
    main()
