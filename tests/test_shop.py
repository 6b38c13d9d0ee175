"""The programs of the example of a shop, by themselves."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

API = Path("examples/shop/api")
_RUN = """
import api
with api.Server(("::1", 0), api.Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_to_the_end()
"""


def asked(port: int) -> socket.socket:
    """Return a connection with a question."""
    client = socket.create_connection(("::1", port), timeout=20)
    client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
    return client


def require_an_answer(client: socket.socket) -> None:
    with client, client.makefile("rb") as said:
        assert b"200 OK" in said.readline()


def test_the_api_answers_all_who_came_before_it_is_told_to_end() -> None:
    words = (sys.executable, "-B", "-c", _RUN)
    with subprocess.Popen(words, cwd=API, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            port = int(server.stdout.readline())
            require_an_answer(asked(port))  # so that it serves, and hears what it is told
            server.send_signal(signal.SIGSTOP)
            clients = [asked(port) for _ in range(9)]
            server.send_signal(signal.SIGTERM)
            server.send_signal(signal.SIGCONT)
            for client in clients:
                require_an_answer(client)
            assert server.wait(20) == 0
        finally:
            server.kill()
