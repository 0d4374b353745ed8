"""A closed-loop load of our own, run as a script: raw sockets, one epoll loop, no pipelining.

Answers must carry a Content-Length. It reads no more of them than it must, so that on a machine
of two CPUs the server under test is the one that is busy.
"""

import json
import select
import socket
import sys
import time
from itertools import cycle


class Connection:
    """One connection: what is still missing of its answer."""

    __slots__ = ("due", "got", "sent", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""
        self.due = 0  # the length of the answer, once its head is here
        self.sent = 0.0

    def ask(self, request: bytes, now: float) -> None:
        self.got, self.due, self.sent = b"", 0, now
        self.socket.sendall(request)

    def answered(self) -> bool | None:
        """Read what is here: None while more is due, else whether it was a success."""
        data = self.socket.recv(262144)
        if not data:
            raise ConnectionResetError("the server closed")
        self.got += data
        if not self.due:
            end = self.got.find(b"\r\n\r\n")
            if end < 0:
                return None
            self.due = end + 4 + length_of(self.got[:end].lower())
        if len(self.got) < self.due:
            return None
        return self.got[9:10] in {b"2", b"3"}


def length_of(head: bytes) -> int:
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise ValueError(f"an answer without a Content-Length: {head[:200]!r}")
    return int(head[at + 17 :].split(b"\r\n", 1)[0])


def main() -> None:
    if sys.platform != "linux":
        sys.exit("our own load needs epoll, which is Linux's: put wrk on the PATH")
    wanted = json.loads(sys.argv[1])
    body = wanted["body"].encode()
    head = f"{wanted['method']} {wanted['path']} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in wanted["headers"].items())
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    request = f"{head}\r\n".encode() + body
    among = max(1, wanted["among"])
    requests = cycle(request.replace(b"<n>", str(number).encode(), 1) for number in range(among))
    poll = select.epoll()
    connections: dict[int, Connection] = {}
    latencies: list[float] = []
    errors = 0

    def open_one() -> None:
        made = Connection(wanted["port"])
        connections[made.socket.fileno()] = made
        poll.register(made.socket.fileno(), select.EPOLLIN)
        made.ask(next(requests), time.perf_counter())

    began = time.perf_counter()
    for _ in range(wanted["connections"]):
        open_one()
    end = began + wanted["seconds"]
    while (now := time.perf_counter()) < end:
        for number, _ in poll.poll(end - now):
            connection = connections[number]
            try:
                well = connection.answered()
                if well is None:
                    continue
                errors += not well
                now = time.perf_counter()
                latencies.append(now - connection.sent)
                connection.ask(next(requests), now)
            except OSError:
                errors += 1
                poll.unregister(number)
                del connections[number]
                connection.socket.close()
                open_one()
    latencies.sort()
    count = len(latencies)
    print(
        json.dumps(
            {
                "requests": count,
                "seconds": time.perf_counter() - began,
                "p50": latencies[count // 2] if count else 0.0,
                "p99": latencies[int(count * 0.99)] if count else 0.0,
                "errors": errors,
            }
        )
    )


if __name__ == "__main__":
    main()
