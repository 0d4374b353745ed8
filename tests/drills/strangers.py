"""Clients that take their time: heads, bodies and readers that never come to an end.

`python tests/drills/strangers.py --port PORT --each 50 --within 10`: opens so many of each kind,
each from an address of its own kind, lets a byte drip now and then, and says when each was closed.
"""

import argparse
import json
import select
import socket
import sys
import time

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "
BODY = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
READ = b"GET /stream/4000 HTTP/1.1\r\nHost: a\r\n\r\n"
DRIP = 0.5  # seconds between two bytes of a slow sender
KINDS = {"head": (HEAD, "127.0.0.3"), "body": (BODY, "127.0.0.4"), "reader": (READ, "127.0.0.5")}


def dial(port: int, kind: str) -> socket.socket:
    """Connect, and say the first words."""
    words, source = KINDS[kind]
    sock = socket.socket()
    if kind == "reader":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.bind((source, 0))
    sock.connect(("127.0.0.1", port))
    sock.sendall(words)
    sock.setblocking(False)
    return sock


def over(sock: socket.socket, kind: str) -> bool:
    """Look whether the connection has ended. A slow reader does not read to find out."""
    if kind == "reader":
        poll = select.poll()
        poll.register(sock, 0)
        return bool(poll.poll(0))
    try:
        while data := sock.recv(65536):
            if b"HTTP/1.1 408 " not in data and data.startswith(b"HTTP/1.1"):
                raise RuntimeError(f"it was answered: {data[:80]!r}")
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def main() -> None:
    """Open them, wait for the end of each, and write when it was."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--each", type=int, default=50)
    parser.add_argument("--within", type=float, required=True)
    parser.add_argument("--attached", action="store_true")
    given = parser.parse_args()
    ended: dict[str, list[float]] = {kind: [] for kind in KINDS}
    open_ = [
        (dial(given.port, kind), kind, time.perf_counter())
        for kind in KINDS
        for _ in range(given.each)
    ]
    print(json.dumps({"opened": len(open_)}), flush=True)
    until = time.perf_counter() + given.within
    drip = time.perf_counter()
    while open_ and (now := time.perf_counter()) < until:
        dripping = now >= drip
        drip = now + DRIP if dripping else drip
        left = []
        for sock, kind, began in open_:
            if over(sock, kind):
                ended[kind].append(now - began)
                sock.close()
                continue
            left.append((sock, kind, began))
            if dripping and kind != "reader":
                try:
                    sock.send(b"x")
                except OSError:
                    pass  # it has just been closed, which the next look sees
        open_ = left
        time.sleep(0.02)
    print(json.dumps({"left": len(open_), "ended": ended}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
