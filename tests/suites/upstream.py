"""A server for the suites: a small page, a large one, and a form. One process, any number of connections."""

import asyncio
import sys

LARGE = b"0123456789abcdef" * 65536


async def skip(reader, length):
    while length:
        part = await reader.read(min(length, 65536))
        if not part:
            raise ConnectionError("the body has ended early")
        length -= len(part)


async def exchange(reader, writer):
    """Answers one request."""
    head = await reader.readuntil(b"\r\n\r\n")
    path = head.split(b" ", 2)[1]
    length, is_chunked = 0, False
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        is_chunked = is_chunked or name.lower() == b"transfer-encoding"
    while is_chunked:
        size = int(await reader.readuntil(b"\r\n"), 16)
        await skip(reader, size + 2)
        is_chunked = size > 0
    await skip(reader, length)
    body = LARGE if path.endswith(b"/large") else b"ok\n"
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body))
    writer.write(body)
    await writer.drain()


async def serve(reader, writer):
    try:
        while True:
            await exchange(reader, writer)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
