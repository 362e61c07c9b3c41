"""The receiver as a process: a socket, a queue, one worker, an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import uvicorn

from tap_saas.config import home_path
from tap_saas.errors import ConfigError
from tap_saas.queues import open_queue
from tap_saas.queues.base import Limits, Queue
from tap_saas.queues.committer import Committer
from tap_saas.redact import Redactor, mask_logs
from tap_saas.webhooks.access import AccessLog
from tap_saas.webhooks.app import Health, application
from tap_saas.webhooks.metrics import Metrics
from tap_saas.webhooks.protocol import BoundedProtocol, allowed_connections
from tap_saas.webhooks.receiver import Receiver
from tap_saas.webhooks.roster import Roster
from tap_saas.webhooks.secret_store import SecretStore
from tap_saas.webhooks.source import Source, load_sources

log = logging.getLogger(__name__)

BACKLOG = 2048
GRACE_S = 15
KEEP_ALIVE_S = 30
DRAIN_S = 10.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to listen and where to keep events, and in `home` secrets that handshakes bring; port 0
    is any that is free.
    """

    host: str = "127.0.0.1"
    port: int = 8700
    queue: str
    limits: Limits = Limits()
    public_url: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    access_log: bool = True
    home: Path = msgspec.field(default_factory=lambda: home_path({}))


def serve(
    connectors: Sequence[str],
    settings: Mapping[str, object],
    env: Mapping[str, str],
    options: Options,
) -> None:
    """Receive until SIGTERM or SIGINT: answer what is in flight, store what waits, return.

    Raises:
        ConnectorError: a file has mistakes.
        ConfigError: an address that is taken, a certificate that cannot be read, a wrong setting.
        QueueError: the queue cannot be used.
        StateError: the secrets that handshakes have brought cannot be read.
    """
    sources, secrets = load_sources(connectors, settings, env, options.public_url)
    redactor = Redactor(secrets)
    roster = Roster(sources, SecretStore(options.home), redactor)
    access = AccessLog(sys.stderr if options.access_log else None, redactor.mask)
    sock = _bound(options)
    with sock:
        _check_certificate(options)
        _log_to_stderr(redactor)
        BoundedProtocol.most = allowed_connections()
        queue = open_queue(options.queue, write=True, limits=options.limits)
        try:
            for name, source in sources.items():
                queue.declare(name, source.form.consumers)
            _tell(roster.sources, sock, is_tls=options.tls_cert is not None)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: None)  # the server ends, and then we do
            work = _run(roster, queue, access, sock, options)
            loop = uvicorn.Config("", log_config=None).get_loop_factory()
            with asyncio.Runner(loop_factory=loop) as runner:
                runner.run(work)
        finally:
            queue.close()


async def _run(
    roster: Roster,
    queue: Queue,
    access: AccessLog,
    sock: socket.socket,
    options: Options,
) -> None:
    deliver = asyncio.get_running_loop().call_soon_threadsafe
    committer = Committer(queue, deliver=deliver)
    metrics = Metrics()
    receiver = Receiver(roster, committer, metrics, access, options.public_url or "")
    config = uvicorn.Config(
        application(receiver, Health(queue, committer, metrics), access),
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=options.tls_cert,
        ssl_keyfile=options.tls_key,
    )
    try:
        await uvicorn.Server(config).serve([sock])
        committer.drain(DRAIN_S)
        await asyncio.sleep(0)
    finally:
        committer.close(DRAIN_S)
        access.flush()


def _bound(options: Options) -> socket.socket:
    """A listening socket at the address, of IPv4 or IPv6 as the host says."""
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
        family, kind, _, _, address = found[0]
        sock = socket.socket(family, kind)
    except OSError as error:
        raise ConfigError(f"--host {options.host}: {error.strerror}", do="correct it") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        what = f"cannot listen on {options.host}:{options.port} ({error.strerror})"
        raise ConfigError(what, do="give another --port") from error
    return sock


def _check_certificate(options: Options) -> None:
    """Try the files for TLS out, where there are any."""
    if options.tls_cert is None:
        if options.tls_key is not None:
            raise ConfigError("--tls-key without --tls-cert", do="give both")
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls_cert, options.tls_key, password=lambda: "")
    except (OSError, ValueError) as error:
        what = f"the certificate {options.tls_cert} cannot be used ({error})"
        raise ConfigError(what, do="give PEM files, the key without a password") from error


def _tell(sources: Mapping[str, Source], sock: socket.socket, *, is_tls: bool) -> None:
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    url = f"{'https' if is_tls else 'http'}://{shown}:{port}"
    for name, source in sources.items():
        log.info("receiving: url=%s/webhooks/%s", url, name)
        if source.unready is not None:
            log.warning("answered with 503: source=%s why=%s", name, source.unready)


def _log_to_stderr(redactor: Redactor) -> None:
    form = "%(levelname)s %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=form)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    mask_logs(redactor)
