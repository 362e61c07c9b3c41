"""A Meltano project of a test's own: the plugins of our meltano.yml, installed already.

Meltano runs as the real process, in a session of its own: killed with -9 it leaves a tap and a
target that live on for a while, as it does anywhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness import BIN, PATIENCE_S, SCHEMA, Child
from ruamel.yaml import YAML
from sandbox_api import KEY
from singer_output import Done

from target_config.database import target_url

OURS = Path(__file__).parent.parent / "meltano.yml"
STATE_ID = "dev:tap-shop-to-target-postgres"
PAIR = ("tap-shop", "target-postgres")


class Project:
    """A project with one connector; `secret` is what the connector takes from SHOP_KEY."""

    def __init__(
        self,
        folder: Path,
        url: str,
        connector: str,
        *,
        database: str,
        secret: str = KEY,
        schema: str = SCHEMA,
        **config: Any,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        (folder / "shop.yaml").write_text(connector)
        yaml = YAML()
        project = yaml.load(OURS.read_text())
        for kind in ("extractors", "loaders"):
            for plugin in project["plugins"][kind]:
                if plugin.pop("pip_url", None):
                    plugin["executable"] = str(BIN / plugin["executable"])
        given = {"connector": "./shop.yaml", "settings": {"url": url}, **config}
        project["plugins"]["extractors"].append(
            {"name": PAIR[0], "inherit_from": "tap-saas", "config": given, "load_schema": schema}
        )
        project["plugins"].pop("utilities")
        project.pop("jobs"), project.pop("schedules")
        with (folder / "meltano.yml").open("w") as file:
            yaml.dump(project, file)
        self._environment = {
            **os.environ,
            "MELTANO_DATABASE_URI": f"sqlite:///{folder}/meltano.db",
            "TARGET_POSTGRES_SQLALCHEMY_URL": target_url(database),
            "SHOP_KEY": secret,
            "NO_COLOR": "1",
        }

    def start(self, *arguments: str, **environment: str) -> Child:
        """`meltano run` of the pair, with these options."""
        command: list[str | Path] = [BIN / "meltano", "run", *arguments, *PAIR]
        wanted = {**self._environment, **environment}
        return Child(command, wanted, apart=True, cwd=self.folder)

    def run(self, *arguments: str, **environment: str) -> Done:
        """The same, to its end."""
        return ended(self.start(*arguments, **environment))

    def states(self) -> dict[str, Mapping[str, Any]]:
        """What Meltano keeps: the state of the last complete run, and what came after it."""
        query = "SELECT completed_state, partial_state FROM state WHERE state_id = ?"
        with contextlib.closing(sqlite3.connect(self.folder / "meltano.db")) as connection:
            row = connection.execute(query, (STATE_ID,)).fetchone() or ("{}", "{}")
        completed, partial = (json.loads(text or "{}").get("singer_state", {}) for text in row)
        return {"completed": completed, "partial": partial}

    def bookmark(self, stream: str, of: str = "completed") -> Mapping[str, Any]:
        """A stream's bookmark in one of the two."""
        found: Mapping[str, Any] = self.states()[of].get("bookmarks", {}).get(stream, {})
        return found


def ended(meltano: Child) -> Done:
    """Wait until Meltano and what it has started are gone; its own log is in both outputs."""
    out = meltano.stdout.read()
    code = meltano.wait()
    wait_for_left(meltano)
    return Done(code, out, meltano.told() + out.decode())


def kill(meltano: Child) -> None:
    """`kill -9` of Meltano alone; tap and target live on."""
    meltano.send(signal.SIGKILL)


def left(meltano: Child) -> list[int]:
    """The processes that Meltano has started and that live, where proc(5) is."""
    return [pid for pid in _members(meltano.pid) if pid != meltano.pid]


def tap_of(meltano: Child) -> int | None:
    """The tap that reads for a run, not the one that is asked for its catalog."""
    for pid in left(meltano):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"tap-saas" in command and b"--discover" not in command:
                return pid
    return None


def wait_for_left(meltano: Child) -> None:
    """Wait until none lives any more; those that take too long are killed."""
    until = time.monotonic() + PATIENCE_S
    while left(meltano) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in left(meltano):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _members(group: int) -> Iterator[int]:
    """The processes of a process group that are no zombies (proc_pid_stat(5))."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, found = file.read_text().rpartition(")")[2].split()[:3]
            if state != "Z" and int(found) == group:
                yield int(file.parent.name)
