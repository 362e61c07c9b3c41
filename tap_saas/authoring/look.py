"""A look at the first page of a stream, also of one that is not finished yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tap_saas import config as tap_config
from tap_saas.authoring import lists
from tap_saas.authoring.advice import Advice, advice, elsewhere
from tap_saas.connector.decode import Decoded
from tap_saas.connector.exchange import Page, Response
from tap_saas.connector.load import Loaded, load
from tap_saas.connector.model import Stream
from tap_saas.errors import ApiError
from tap_saas.redact import mask_logs, masked_value
from tap_saas.sync import discovery
from tap_saas.sync.ends import Limits, Stop
from tap_saas.sync.run import Run


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The page, its address without secrets, its records as rows, and what there is to say."""

    page: Page
    url: str
    records: list[dict[str, Any]]
    advice: list[Advice]


def read(config: Mapping[str, Any]) -> Loaded:
    """The connector, whose streams may lack their pagination.

    Raises:
        ConnectorError: it has other mistakes.
        ConfigError: settings are missing or wrong.
    """
    tap_config.check(config)
    return load(config["connector"], config.get("settings"), unfinished=True)


def look(loaded: Loaded, config: Mapping[str, Any], stream: str) -> Look | None:
    """Ask for the first page; `None` where no parent has a record.

    Raises:
        ApiError, CredentialError: as a run of the tap raises them.
    """
    run = Run(loaded, config, tap_config.home(config), Stop(), Limits(None, None))
    mask_logs(run.redactor)
    form = loaded.connector.streams[stream]
    is_unfinished = stream in loaded.unfinished
    try:
        page, records = discovery.first_page(run, form, _decode(form, is_unfinished))
    finally:
        run.close()
    if page is None:
        return None
    mask = run.redactor.mask
    found = advice(form, page, is_unfinished=is_unfinished)
    return Look(
        page=page,
        url=mask(page.response.url),
        records=masked_value(discovery.shaped(run, form, records), mask),
        advice=[msgspec.structs.replace(one, says=mask(one.says)) for one in found],
    )


def _decode(form: Stream, is_unfinished: bool) -> Callable[[Response], Decoded]:
    """Records where the stream says; where it says nothing or there is no list, where they are."""
    plain = discovery.plain_decode(form)

    def decode(response: Response) -> Decoded:
        other = elsewhere(form, response) if is_unfinished else None
        if other is not None:
            return Decoded(other.records, "dict")
        try:
            return plain(response)
        except ApiError:
            found = lists.find(response.document.value, form.name)
            if not found or not found[0].records:
                raise
            return Decoded(found[0].records, "dict")

    return decode
