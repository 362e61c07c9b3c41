"""Every error that a user can cause, its exit code and its one line.

    TapSaasError            1   a mistake of ours, and the base of all below
    +-- ConfigError         2   wrong settings, files or command line
    +-- ConnectorError      3   mistakes in a connector file (all of them at once)
    +-- CredentialError     4   the API refuses who we are
    +-- ApiError            5   the API answers wrongly, or not at all
    +-- RejectRatioError    6   too many records were bad
    +-- StateError          7   a state that cannot be used
    +-- QueueError          8   a queue that cannot be used
    +-- TargetError         9   the target database cannot be reached or lacks its guard
    +-- RetryableError          ask again; never leaves client/
    +-- PageTokenExpiredError   the API forgot a page token; never leaves sync/

Ends that are no errors: 0 done (also a planned end, `partial_exit` changes it), 129 SIGHUP, 130
SIGINT, 143 SIGTERM.
"""

from __future__ import annotations

from typing import ClassVar


class TapSaasError(Exception):
    """A failure that is told in one line: `where: what; do this`.

    `facts` are shown between where and what, as `page 12: request 7f3a91: ...` does.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        do: str | None = None,
        stream: str | None = None,
        partition: str | None = None,
        page: int | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.do = do
        self.stream = stream
        self.partition = partition
        self.page = page
        self.status = status
        self.request_id = request_id
        super().__init__(str(self))

    def __str__(self) -> str:
        place = [self.where, self.stream, self.partition and f"partition {self.partition}"]
        if self.page is not None:
            place.append(f"page {self.page}")
        what = self.what if self.request_id is None else f"{self.what} (request {self.request_id})"
        line = ": ".join([part for part in place if part] + [what])
        return f"{line}; {self.do}" if self.do else line


class ConfigError(TapSaasError):
    """Wrong settings, files or command line."""

    exit_code = 2


class ConnectorError(TapSaasError):
    """Mistakes in a connector file; `lines` holds one `file:line: where: what; do this` each."""

    exit_code = 3

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        super().__init__("\n".join(lines))


class CredentialError(TapSaasError):
    """The API refuses who we are."""

    exit_code = 4


class ApiError(TapSaasError):
    """The API answers wrongly, or not at all."""

    exit_code = 5


class RejectRatioError(TapSaasError):
    """Too many records were bad."""

    exit_code = 6


class StateError(TapSaasError):
    """A state that cannot be used."""

    exit_code = 7


class QueueError(TapSaasError):
    """A queue that cannot be used."""

    exit_code = 8


class TargetError(TapSaasError):
    """The target database cannot be reached, or a table lacks its guard."""

    exit_code = 9


class RetryableError(TapSaasError):
    """Ask again: never leaves `client/`."""


class PageTokenExpiredError(TapSaasError):
    """The API has forgotten a page token: never leaves `sync/`."""
