"""A proxy that ends TLS, as people put one before the server. Start with `TlsFront`."""

import asyncio
import ssl
import threading
from contextlib import suppress
from urllib.parse import urlsplit

_CHUNK = 64 * 1024


class TlsFront:
    """Passes what comes in on a port of its own on to a server, byte by byte. `close` it."""

    def __init__(self, server, folder):
        """Start; `folder` holds `certificate.pem` and `key.pem`."""
        url = urlsplit(server.api_url)
        self._behind = url.hostname, url.port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
        self.port = 0
        self._ready, self._loop, self._stop = threading.Event(), None, None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._ready.wait(timeout=20)

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        listener = await asyncio.start_server(self._pass_on, "127.0.0.1", 0, ssl=self._context)
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        listener.close()

    async def _pass_on(self, reader, writer):
        behind_reader, behind_writer = await asyncio.open_connection(*self._behind)
        await asyncio.gather(copy(reader, behind_writer), copy(behind_reader, writer))

    def close(self):
        """Stop."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=20)


async def copy(reader, writer):
    """Write what is read until the end, then close."""
    with suppress(OSError, ssl.SSLError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
    with suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
