"""A process that uses this terminal: keys, pictures, sizes."""

import os
import pty
import select
import socket
import termios
import threading

from mlruntime.engine.docker.terminal import interact


def test_keys_go_in_and_what_is_drawn_comes_out() -> None:
    person, terminal = pty.openpty()
    here, there = socket.socketpair()
    sizes: list[tuple[int, int]] = []
    heard: list[bytes] = []
    before = termios.tcgetattr(terminal)

    def process() -> None:
        heard.append(there.recv(6))
        os.write(person, b"\x03")  # the terminal is raw by now, and Ctrl-C a key like others
        heard.append(there.recv(1))
        there.sendall(b"drawn\r\n")
        there.close()

    def resize(rows: int, columns: int) -> None:
        sizes.append((rows, columns))

    termios.tcsetwinsize(terminal, (50, 132))
    thread = threading.Thread(target=process)
    thread.start()
    os.write(person, b"early\n")  # while the container is being started
    select.select([terminal], [], [], 60)  # the kernel hands it over some time later
    interact(here, terminal, terminal, resize)
    thread.join()
    assert heard == [b"early\n", b"\x03"]
    expected, drawn = b"early\r\ndrawn\r\n", b""  # the first is its echo
    while len(drawn) < len(expected):
        drawn += os.read(person, 100)
    assert drawn == expected
    assert sizes == [(50, 132)]
    assert termios.tcgetattr(terminal) == before
    here.close()
    os.close(person)
    os.close(terminal)
