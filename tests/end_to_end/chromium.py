"""Headless Chromium, and the site as it is served to it."""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.servers.basehttp import ThreadedWSGIServer
from django.test.testcases import LiveServerThread
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, expect, sync_playwright

from tests.conftest import Checkout

CHROMIUM = Path("/usr/bin/chromium")

LONGEST_WAIT = 60_000.0
"""Milliseconds until a test gives up on what a page should do or show."""

expect.set_options(timeout=LONGEST_WAIT)

in_chromium = (
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed"),
)


@contextmanager
def started() -> Iterator[BrowserType]:
    """Playwright's Chromium, to be launched."""
    # Playwright's loop makes Django think that it is called from asynchronous code.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        yield playwright.chromium
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as chromium:
        browser = chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class FinishingServer(ThreadedWSGIServer):
    """Its end waits for the answers that are under way, whether or not anybody still listens."""

    daemon_threads = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(*arguments, **options)

    def serve_forever(self, poll_interval: float = 0.02) -> None:
        super().serve_forever(poll_interval)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().close_request(request)

    def server_close(self) -> None:
        # A browser keeps connections without a request: their threads read the end of them.
        for connection in list(self.connections):
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RD)
        super().server_close()


class FinishingServerThread(LiveServerThread):
    server_class = FinishingServer

    def __init__(self, handler: Callable[..., Any], tls: ssl.SSLContext | None) -> None:
        # Anything that makes a WSGI application of one will do.
        super().__init__("localhost", handler)  # type: ignore[arg-type]
        self.tls = tls

    def _create_server(self, connections_override: Any = None) -> Any:
        server = super()._create_server(connections_override)  # type: ignore[misc]
        if self.tls:
            encrypt(server, self.tls)
            server.base_environ["HTTPS"] = "on"
        return server


def encrypt(server: Any, tls: ssl.SSLContext) -> None:
    """Speak TLS on a server's port. Hands are shaken in the thread of each connection."""
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


@contextmanager
def untraced_threads() -> Iterator[None]:
    """The coverage of threads that begin meanwhile is not measured."""
    # A browser makes a server begin many at once, and CPython 3.11 may fail to trace one, which
    # then ends and answers nobody (https://github.com/python/cpython/issues/98257).
    trace = threading.gettrace()
    threading.settrace(None)
    try:
        yield
    finally:
        threading.settrace(trace)


@contextmanager
def served(
    handler: Callable[..., Any] = StaticFilesHandler, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """The port at which the site is served. After this, nothing is answered any more."""
    with untraced_threads():
        thread = FinishingServerThread(handler, tls)
        thread.start()
        thread.is_ready.wait()
        if thread.error:
            raise thread.error
        try:
            yield thread.port
        finally:
            thread.terminate()


@pytest.fixture
def address(transactional_db: None) -> Iterator[str]:
    """Where the site is served. Nothing is answered any more when the database is emptied."""
    with served() as port:
        yield f"http://localhost:{port}"


class Visit:
    """Alice, signed in, with one tab. Collects what the browser complains about."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.complaints: list[str] = []
        self.context: BrowserContext = browser.new_context(base_url=address, **options)
        self.context.set_default_timeout(LONGEST_WAIT)
        self.context.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        self.page: Page = self.context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto("/admin/dashboard/")
        self.page.fill("#id_username", "alice")
        self.page.fill("#id_password", "secret-of-alice")
        self.page.click("[type=submit]")
        expect(self.page.locator("h1")).to_have_text("Server updates")

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@pytest.fixture
def visit(browser: Browser, address: str, alice: User, checkout: Checkout) -> Iterator[Any]:
    visits: list[Visit] = []

    def begin(**options: Any) -> Visit:
        visits.append(Visit(browser, address, **options))
        return visits[-1]

    yield begin
    for each in visits:
        each.context.close()
