"""What a visitor may have open beside the site: pages of others, that send what they like to it."""

import datetime
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.end_to_end.chromium import encrypt, untraced_threads

PATIENCE = 120.0
"""Seconds until a test gives up."""

PAGE = """<!doctype html><meta charset="utf-8"><title>A page of somebody else</title><script>
const OPEN = {mode: "no-cors", credentials: "include"};
const AS_JSON = {headers: {"Content-Type": "application/json"}, body: '{"reason": "why not"}'};
const SANDBOX = "allow-scripts allow-forms";

// Comes back when it is answered or refused, so that nothing is sent after that.
function send(url, options) {
    return fetch(url, {method: "POST", ...options}).then(() => {}, () => {});
}
function token() {
    return document.cookie.match(/csrftoken=(\\w+)/)?.[1] ?? "";
}
function put(name, attributes) {
    const element = Object.assign(document.createElement(name), attributes);
    return document.body.appendChild(element);
}
function form(url, {fields = {}, ...attributes} = {}) {
    const form = put("form", {method: "post", action: url, ...attributes});
    for (const [name, value] of Object.entries(fields)) {
        form.append(Object.assign(document.createElement("input"), {name, value}));
    }
    form.submit();
}
function sandboxed(attributes, sandbox = SANDBOX) {
    const frame = document.createElement("iframe");
    frame.sandbox = sandbox;
    document.body.append(Object.assign(frame, attributes));
}
function formPage(url, target = "_self") {
    const form = `<form method=post action="${url}" target=${target}></form>`;
    return `${form}<script>document.forms[0].submit()<\\/script>`;
}
function fetchPage(url) {
    const options = "{method: 'POST', mode: 'no-cors', credentials: 'include'}";
    return `<script>fetch("${url}", ${options})<\\/script>`;
}
function asData(page) {
    return "data:text/html," + encodeURIComponent(page);
}
function beacon(url, text, type) {
    navigator.sendBeacon(url, new Blob([text], {type}));
}
function xhr(url) {
    return new Promise((resolve) => {
        const request = new XMLHttpRequest();
        request.onloadend = () => resolve();
        request.withCredentials = true;
        request.open("POST", url);
        request.send();
    });
}
</script><body>"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it has arrived at the site, and how it was answered."""

    path: str
    method: str
    has_session: bool
    whence: tuple[str, ...]
    status: int


class Witness:
    """Stands before the site's application and sees what arrives."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self._arrived = Condition()

    def before(self, application: Callable[..., Iterable[bytes]]) -> Callable[..., Any]:
        def witnessed(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            statuses: list[str] = []

            def start(status: str, *rest: Any) -> Any:
                statuses.append(status)
                return start_response(status, *rest)

            answer = application(environ, start)
            self._see(environ, int(statuses[0].split()[0]))
            return answer

        return witnessed

    def wait_for(self, path: str, count: int) -> list[Arrival]:
        """What has arrived at a path, once it is so many."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self.seen(path)) >= count, PATIENCE)
            return self.seen(path)

    def seen(self, path: str) -> list[Arrival]:
        return [each for each in self.arrivals if each.path == path]

    def _see(self, environ: dict[str, Any], status: int) -> None:
        headers = {"Origin": "HTTP_ORIGIN", "Sec-Fetch-Site": "HTTP_SEC_FETCH_SITE"}
        arrival = Arrival(
            environ["PATH_INFO"],
            environ["REQUEST_METHOD"],
            "sessionid=" in environ.get("HTTP_COOKIE", ""),
            tuple(name for name, key in headers.items() if key in environ),
            status,
        )
        with self._arrived:
            self.arrivals.append(arrival)
            self._arrived.notify_all()


class Elsewhere(BaseHTTPRequestHandler):
    """Pages that attack, and redirects to where their query says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        to = parse_qs(parts.query).get("to", [""])[0]
        # Unread, a body would be taken for the next request.
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if parts.path == "/redirect":
            self._answer(307, {"Location": to})
        elif parts.path == "/reporting":
            policy = f"img-src 'none'; report-uri {to}"
            self._answer(200, {"Content-Security-Policy": policy}, "<img src=/picture>")
        else:
            self._answer(200, {}, PAGE)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""

    def _answer(self, status: int, headers: dict[str, str], body: str = "") -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/html", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


@contextmanager
def elsewhere(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port at which all other sites are served."""
    with untraced_threads(), ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        port = server.server_port
        if tls:
            encrypt(server, tls)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield port
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True, slots=True)
class Certificate:
    """Signed by nobody but itself. The file has its key too."""

    file: Path
    fingerprint: str

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context


def certificate_for(folder: Path, *names: str) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    known_by = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Certificate(file, b64encode(sha256(known_by).digest()).decode())
