"""Python reads this file at its start where its folder is in PYTHONPATH: no process then reaches another machine.

What was asked for is added to the file that ADDRESSES names.
"""

import os
import socket
from typing import Any

ADDRESSES = "BIOMEDJOURNEY_TEST_ADDRESSES"
OWN = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "", None, socket.gethostname())

_look_up, _connect, _connect_ex = socket.getaddrinfo, socket.socket.connect, socket.socket.connect_ex


def _refuse(host: Any) -> None:
    host = host.decode() if isinstance(host, bytes) else host
    if host not in OWN:
        with open(os.environ[ADDRESSES], "a") as file:
            file.write(f"{host}\n")
        raise OSError(f"the tests reach no other machine: {host}")


def look_up(host: Any, *rest: Any, **more: Any) -> Any:
    _refuse(host)
    return _look_up(host, *rest, **more)


def connect(self: socket.socket, address: Any) -> None:
    if self.family != socket.AF_UNIX:
        _refuse(address[0])
    _connect(self, address)


def connect_ex(self: socket.socket, address: Any) -> int:
    if self.family != socket.AF_UNIX:
        _refuse(address[0])
    return _connect_ex(self, address)


if ADDRESSES in os.environ:
    socket.getaddrinfo = look_up
    socket.socket.connect = connect  # type: ignore[method-assign]
    socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]
