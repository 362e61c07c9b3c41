"""`tap-saas`, the Singer tap: its settings give a connector, the connector gives the streams."""

from __future__ import annotations

import copy
import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from types import FrameType
from typing import IO, Any, ClassVar

import click
from singer_sdk import Stream, Tap
from singer_sdk.exceptions import ConfigurationError, MappingError
from singer_sdk.helpers.capabilities import (
    CapabilitiesEnum,
    PluginCapabilities,
    TapCapabilities,
)

from tap_saas import config as tap_config
from tap_saas.connector.load import load
from tap_saas.connector.units import parse_duration
from tap_saas.errors import ConfigError, StateError
from tap_saas.objects import parse_object, read_all, read_text
from tap_saas.redact import mask_logs
from tap_saas.runs.recorder import Progress
from tap_saas.sync import catalog_form, sdk, state_form
from tap_saas.sync.discovery import Memory
from tap_saas.sync.ends import Limits, Stop
from tap_saas.sync.ledgers import LedgerStream, rejects_stream, runs_stream
from tap_saas.sync.readings import has_readings, readings_stream
from tap_saas.sync.run import Run
from tap_saas.sync.sources import Sources
from tap_saas.sync.stream import SaasStream
from tap_saas.sync.writer import PageWriter

log = logging.getLogger(__name__)


class TapSaaS(Tap):
    """Gets the data of any SaaS HTTP API that a connector, a YAML file, describes."""

    name = "tap-saas"
    package_name = "tap-saas"
    message_writer_class = PageWriter
    dynamic_catalog = True
    config_jsonschema: ClassVar[dict[str, Any]] = copy.deepcopy(tap_config.SCHEMA)
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        TapCapabilities.CATALOG,
        TapCapabilities.STATE,
        TapCapabilities.DISCOVER,
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
    ]

    def __init__(self, *, config: Any = None, samples: bool = True, **kwargs: Any) -> None:
        given = dict(config or {})
        if kwargs.get("parse_env_config"):
            given = {**given, **self._from_environment()}
        if isinstance(kwargs.get("catalog"), dict):
            catalog_form.check(kwargs["catalog"])
        given = {name: value for name, value in given.items() if value is not None}
        self.append_builtin_config(self.config_jsonschema)
        tap_config.check(given, self.config_jsonschema)
        self.stop = Stop()
        self._run: Run | None = None
        self._samples = samples
        super().__init__(config=given, **{**kwargs, "parse_env_config": False})
        sdk.install_state_line(self)
        in_main = threading.current_thread() is threading.main_thread()
        # `nohup` ignores it: then so do we.
        if in_main and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, self._handle_termination)

    @classmethod
    def _from_environment(cls) -> dict[str, Any]:
        """The settings of the variables `TAP_SAAS_...`.

        Raises:
            ConfigError: one cannot be read; its value may be a secret and is not shown.
        """
        try:
            return dict(cls._env_var_config)
        except (ValueError, RecursionError) as error:
            wrong = sdk.unreadable_variables(cls.config_jsonschema, cls._env_var_prefix)
            raise ConfigError(
                f"the variable {' and '.join(wrong)} cannot be read",
                do="give whole numbers as digits, lists and objects as JSON",
            ) from error

    @classmethod
    def quiet(
        cls, config: dict[str, Any], *, state: dict[str, Any] | None = None, samples: bool = True
    ) -> TapSaaS:
        """A tap for other commands: it logs warnings and worse.

        Without `samples` no page is asked for to learn a schema.
        """
        cls.logger.setLevel(logging.WARNING)
        return cls(config=config, state=state, samples=samples)

    def schema_lines(self) -> bytes:
        """The SCHEMA messages of all streams, as `--test=schema` writes them."""
        return b"".join(
            sdk.schema_lines(stream)
            if isinstance(stream, LedgerStream)
            else stream.announce(stream.columns)  # type: ignore[attr-defined]
            for stream in self.streams.values()
        )

    @property
    def run(self) -> Run:
        """What the streams of this run share; the connector is loaded on first use."""
        if self._run is None:
            config = self.config
            loaded = load(config["connector"], config.get("settings"))
            for warning in loaded.warnings:
                log.warning("%s", warning)
            duration = config.get("max_duration")
            limits = Limits(
                None if duration is None else parse_duration(duration), config.get("max_requests")
            )
            self._run = Run(loaded, config, tap_config.home(config), self.stop, limits)
            self._run.samples = self._samples
            mask_logs(self._run.redactor)
        return self._run

    def discover_streams(self) -> Sequence[Stream]:
        """The connector's streams, and our own."""
        run = self.run
        ledgers: dict[str, LedgerStream] = {}
        if self.config.get("emit_rejects", True):
            ledgers["_rejects"] = rejects_stream(self)
        if self.config.get("emit_runs", True):
            ledgers["_runs"] = runs_stream(self)
        if any(has_readings(form) for form in run.connector.streams.values()):
            ledgers["_readings"] = readings_stream(self)
        memory = Memory(run.home, run.connector.name)
        streams = [
            SaasStream(self, form, run, memory, ledgers) for form in run.connector.streams.values()
        ]
        return [*streams, *ledgers.values()]

    def order_streams(self) -> None:
        """Under a limit of the run, begin with the streams that have waited longest.

        In the order of their names the last ones would never have their turn.
        """
        if not self.run.limits.are_set:
            return
        bookmarks = self.state.get("bookmarks", {})
        streams = sorted(
            self.streams.values(),
            key=lambda stream: bookmarks.get(stream.name, {}).get("last_success_ts") or "",
        )
        self.streams.clear()
        self.streams.update({stream.name: stream for stream in streams})

    def run_discovery(self) -> str:
        """Write the catalog, or fail where a stream's schema could not be learnt."""
        for stream in self.streams.values():
            if isinstance(stream, SaasStream) and stream.schema and stream.sample_error is not None:
                if self.stop.signum:
                    raise SystemExit(128 + self.stop.signum)
                raise stream.sample_error
        return super().run_discovery()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the state, after a look at its form.

        Raises:
            StateError: it is not a Singer state.
        """
        state_form.check(state)
        super().load_state(state)

    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Ask the run to end after the page in hand: STATE from in here would cut a line."""
        self.stop.signum = signum
        self.stop.set()

    def progress(self) -> Progress | None:
        """What shows how far the run is, unless `progress` is off."""
        if not self.config.get("progress", True):
            return None
        from tap_saas.runs.progress import progress_for

        streams = [s for s in self.streams.values() if isinstance(s, SaasStream) and s.selected]
        return progress_for(self.run.connector.name, self.run.id, len(streams))

    def finish(self) -> None:
        """Say how a run that came to its end has ended.

        Raises:
            TapSaasError: the failure of a stream.
            SystemExit: with `partial_exit`, where a limit ended the run.
        """
        if self.run.failures:
            raise self.run.failures[0]
        code = int(self.config.get("partial_exit", 0)) if self.run.planned_end else 0
        if code:
            raise SystemExit(code)

    def sum_up(self) -> None:
        """Tell the figures of the whole run, as the last INFO line."""
        run = self.run
        snapshot = run.report.snapshot()
        ingested = sum(row.rows_ingested for row in snapshot.rows)
        rejected = sum(row.rows_rejected for row in snapshot.rows)
        rejects = sum(map(Counter, snapshot.rejects.values()), Counter[str]())
        figures = {
            "rows_ingested": ingested,
            "rows_rejected": rejected,
            "error_rate": round(rejected / ((ingested + rejected) or 1), 4),
            **({"rejects": _listed(rejects)} if rejects else {}),
            "requests": run.report.requests,
            "duration_s": round((run.now() - run.started_at).total_seconds(), 1),
        }
        log.info("run=%s %s", run.id, " ".join(f"{k}={v}" for k, v in figures.items()))

    @classmethod
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        """The settings of all `--config` files; one line for a file that is missing or broken."""
        merged = super().cb_config(ctx, param, tuple(path for path in value if path == "ENV"))
        for path in value:
            if path != "ENV":
                text = read_text(path, ConfigError, "config file")
                merged.config |= parse_object(text, path, ConfigError, "config file")
        return merged

    def sync_feeds(self) -> None:
        """Pull the streams, then read the event logs and the queue, as `feeds` says."""
        sources = Sources(self, self.run)
        try:
            sources.open()
            self.sync_all()
            sources.sync()
        finally:
            sources.close()

    @classmethod
    def invoke(  # type: ignore[override]
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: Any = None,
        state: IO[str] | None = None,
        catalog: IO[str] | None = None,
    ) -> None:
        """Run the tap."""
        if about:
            cls.print_about(about_format)
            return
        cls.print_version(print_fn=cls.logger.info)
        tap = cls(
            config=config.config,
            state=None
            if state is None
            else parse_object(
                read_all(state, StateError, "state"), state.name, StateError, "state"
            ),
            catalog=None
            if catalog is None
            else parse_object(
                read_all(catalog, ConfigError, "catalog"), catalog.name, ConfigError, "catalog"
            ),
            parse_env_config=config.parse_env,
        )
        tap.order_streams()
        with tap.run.recorder(tap.progress()):
            try:
                tap.sync_feeds()
                tap.run.close()
            finally:
                tap.sum_up()
            tap.finish()


def _listed(rejects: Counter[str]) -> str:
    """`missing_field:4,bad_date:3`, the most first."""
    return ",".join(f"{error}:{n}" for error, n in rejects.most_common())


def main() -> int:
    """The command `tap-saas`; the exit code."""
    for name in ("LOGLEVEL", "TAP_SAAS_LOGLEVEL"):
        if not os.environ.get(name):
            os.environ.pop(name, None)  # the SDK takes an empty one for a level
    try:
        command = TapSaaS.cli
    except Exception as error:  # the SDK reads the user's variables and file with several libraries
        raise ConfigError(
            "logging cannot be set up",
            do="set LOGLEVEL to DEBUG, INFO, WARNING or ERROR; see to SINGER_SDK_LOG_CONFIG",
        ) from error
    try:
        result = command(standalone_mode=False)
    except (ConfigurationError, MappingError) as error:
        raise ConfigError(str(error), where="stream_maps", do="mend the stream maps") from error
    # The SDK tells what is wrong with the settings that it knows itself and ends with 1.
    return ConfigError.exit_code if result == 1 else int(result or 0)
