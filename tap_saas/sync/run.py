"""What all streams of one run share."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tap_saas.client.client import Client
from tap_saas.config import FEEDS, secrets
from tap_saas.connector import budget, formats
from tap_saas.connector.load import Loaded
from tap_saas.connector.model import Connector
from tap_saas.errors import TapSaasError
from tap_saas.redact import Redactor
from tap_saas.report import Report
from tap_saas.runs import run_file
from tap_saas.runs.recorder import Facts, Progress, Recorder
from tap_saas.sync.ends import Limits, Stop


class Run:
    """One process's work: the connector with its values, one client, one report, the ways to end.

    `failures` are those of streams that did not stop the others; `planned_end` says which limit
    ended the run. Without `samples` no page is asked for to learn a schema.
    """

    def __init__(
        self, loaded: Loaded, config: Mapping[str, Any], home: Path, stop: Stop, limits: Limits
    ) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.connector: Connector = loaded.connector
        self.values: Mapping[str, Any] = loaded.values
        self.config = config
        self.home = home
        self.stop = stop
        self.limits = limits
        self.redactor = Redactor([*loaded.secrets, *secrets(config)])
        self.report = Report(self.id, self.redactor)
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.started_at = self.now()
        self.failures: list[TapSaasError] = []
        self.planned_end: str | None = None
        self.samples = True
        self._client: Client | None = None

    @property
    def feeds(self) -> frozenset[str]:
        """Where records are taken from: pull, events, webhooks."""
        return frozenset(self.config.get("feeds") or FEEDS)

    @property
    def start_date(self) -> datetime | None:
        """Where a first incremental pass begins."""
        given = self.config.get("start_date")
        return None if given is None else formats.read_instant(given)

    @property
    def client(self) -> Client:
        """The client, made when the first request is needed: discovery may not need one."""
        if self._client is None:
            self._client = Client(
                self.connector,
                self.values,
                home=self.home,
                stop=self.stop,
                report=self.report,
                redactor=self.redactor,
                budget_store=self.config.get("budget_store"),
                deadline=self.limits.deadline,
                most_requests=self.limits.max_requests,
            )
        return self._client

    def recorder(self, progress: Progress | None) -> Recorder:
        """What keeps the run file, and shows the progress."""
        facts = Facts(
            connector=self.connector.name,
            started_at=self.started_at,
            budgets=[_stated(name, one) for name, one in self.connector.budgets.items()],
            failures=lambda: tuple(self.failures),
            planned_end=lambda: self.planned_end,
        )
        files = run_file.RunFiles(self.home)
        return Recorder(self.report, files, facts, self.redactor, progress=progress)

    def close(self) -> None:
        """Close the client's connections."""
        if self._client is not None:
            self._client.close()


def _stated(name: str, one: budget.Budget) -> run_file.Budget:
    limits = [
        run_file.Rate(
            requests=limit.requests,
            per_s=limit.per.total_seconds(),
            allowed=limit.requests * (1 - limit.reserve) * one.share,
        )
        for limit in one.limits
        if limit.requests is not None and limit.per is not None
    ]
    return run_file.Budget(name=name, limits=limits, concurrent=one.concurrent)
