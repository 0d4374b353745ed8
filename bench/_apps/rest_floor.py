"""What the loop itself costs: a constant answer to whatever comes, which nobody reads."""

import asyncio
import sys
from typing import Any, Final

import uvloop

_BODY: Final = b'{"id":7,"name":"Ada","email":"ada@example.org","age":36}'
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
    % (len(_BODY), _BODY)
)


class Constant(asyncio.Protocol):
    """One connection."""

    transport: Any  # uvloop's are no asyncio.WriteTransport by name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(_ANSWER)


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Constant, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
