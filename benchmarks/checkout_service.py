"""A billing service that takes its time, in one process on a core of its own: `checkout_service.py SECONDS`.

It prints its port, and answers every GET with 200 and an open session, over connections that stay.
"""

import asyncio
import sys

BODY = b'{"id": "checkout_1", "status": "open"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
END = b"\r\n\r\n"


class Service(asyncio.Protocol):
    """One connection; a request has no body."""

    def __init__(self, latency: float) -> None:
        self.latency, self.received = latency, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self.received = (self.received + data).split(END)
        for _ in requests:
            asyncio.get_running_loop().call_later(self.latency, self.transport.write, ANSWER)


async def serve(latency: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Service(latency), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
