"""A web server of a folder's files on this machine, for tests of downloads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(SimpleHTTPRequestHandler):
    asked: list[str]
    cut: int | None

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.cut is None:
            super().do_GET()
            return
        whole = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(whole)))
        self.end_headers()
        self.wfile.write(whole[: self.cut])
        self.close_connection = True


@contextmanager
def served(folder: Path, cut: int | None = None) -> Iterator[tuple[str, list[str]]]:
    """(address, paths asked for so far); with `cut` every answer breaks off after so many bytes."""
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"asked": asked, "cut": cut})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
