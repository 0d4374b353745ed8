"""A toy server for the drills: it takes writes, keeps them in a file, and can be made careless.

`POST /write/ID` keeps ID and answers 201; `GET /about` needs no file. With `--careless` it answers
first and writes a while later, so that a kill loses what it has acknowledged; with
`--fickle` it keeps every seventh write twice.
"""

import argparse
import asyncio
from pathlib import Path

from switchgear.drills.process import announce, until_told

LATER = 0.3


class Toy:
    def __init__(self, file: Path, *, careless: bool, fickle: bool) -> None:
        self.file = file.open("ab", buffering=0)
        self.careless = careless
        self.fickle = fickle
        self.writes = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, path, _ = head.split(b" ", 2)
                status = self.write(path) if method == b"POST" else b"200 OK"
                writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(path)))
                writer.write(path)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    def write(self, path: bytes) -> bytes:
        self.writes += 1
        line = path.removeprefix(b"/write/") + b"\n"
        if self.fickle and self.writes % 7 == 0:
            line *= 2
        if self.careless:
            asyncio.get_running_loop().call_later(LATER, self.file.write, line)
        else:
            self.file.write(line)
        return b"201 Created"


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--careless", action="store_true")
    parser.add_argument("--fickle", action="store_true")
    parser.add_argument("--attached", action="store_true")
    settings = parser.parse_args()
    toy = Toy(settings.file, careless=settings.careless, fickle=settings.fickle)
    server = await asyncio.start_server(toy.serve, "127.0.0.1", settings.port)
    announce(port=server.sockets[0].getsockname()[1])
    await until_told(attached=settings.attached)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
