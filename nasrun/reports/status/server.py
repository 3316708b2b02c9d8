"""The server of `nasrun watch`: one page and its data, only on this machine, for holders of its token.

It only reads, and answers two addresses; it writes, starts and stops nothing, and serves no files.
"""

import hmac
import json
import secrets
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from nasrun.core.options import ConfigError
from nasrun.reports.status.page import Watched

HOST = "127.0.0.1"
REFUSED = b"nasrun watch: the address with its token is on the console that it was started in\n"


class Server(ThreadingHTTPServer):
    """Serves the page for the watched runs. `address`: includes the required token."""

    daemon_threads = True

    def __init__(self, watched: Watched, port: int = 0) -> None:
        self.watched, self.turn = watched, Lock()
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise ConfigError(f"--port={port}: cannot be used ({error.strerror}); leave it out") from error
        self.address = f"http://{HOST}:{self.server_port}/?token={self.token}"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "nasrun", ""
    timeout = 10

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        given = urllib.parse.parse_qs(query).get("token", [""])[0]
        # Checks the requested host, so that pages of other sites cannot reach this server by a name of theirs. Tunnels
        # change ports.
        host = self.headers.get("Host", "").partition(":")[0]
        known = hmac.compare_digest(given.encode(), self.server.token.encode())
        if not known or host not in (HOST, "localhost"):
            self._answer(403, REFUSED, "text/plain")
        elif path == "/":
            nonce = secrets.token_urlsafe(16)
            self._answer(200, self.server.watched.page(nonce).encode(), "text/html", f"'nonce-{nonce}'")
        elif path == "/state":
            with self.server.turn:
                try:
                    content, code = json.dumps(self.server.watched.state()), 200
                except (ConfigError, OSError) as error:  # the folder is missing
                    content, code = json.dumps({"error": str(error)}), 404
            self._answer(code, content.encode(), "application/json")
        else:
            self._answer(404, b"not found\n", "text/plain")

    def _answer(self, code: int, content: bytes, kind: str, scripts: str = "'none'") -> None:
        self.send_response(code)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; connect-src 'self'; "
            "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        )
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Log nothing: the token is part of the request."""
