"""The one place through which every request goes: signed, within budgets, tried again, judged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET

from tap_saas.client.limiter import Limiter
from tap_saas.client.login import Login, Options, OwnLogin, refuse_readable
from tap_saas.client.patience import AgainError, Patience
from tap_saas.client.sender import NO_STREAM, Job, Sender, Where
from tap_saas.client.session import Transport, canonical
from tap_saas.client.stores import open_store
from tap_saas.client.tokens import TokenStore
from tap_saas.client.walk_stop import WalkStop
from tap_saas.connector.auth import Auth, OAuth2
from tap_saas.connector.budget import Budget
from tap_saas.connector.exchange import Request, Response
from tap_saas.connector.model import Connector, Stream
from tap_saas.connector.request_form import RequestForm
from tap_saas.connector.responses import (
    GONE,
    Rule,
    Verdict,
    excerpt,
    html_page,
    judge,
    one_line,
    status_text,
)
from tap_saas.connector.retry import retry_after
from tap_saas.connector.token import Token
from tap_saas.errors import ApiError, ConfigError, CredentialError, TapSaasError
from tap_saas.redact import Redactor
from tap_saas.report import Report

__all__ = ["Client", "Outcome", "Where"]

logger = logging.getLogger(__name__)

Decode = Callable[[Response], Any]
Judge = Callable[[Response], Verdict]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A response whose verdict is ok, skip, done or restart; `decoded` is None unless it is ok."""

    response: Response
    verdict: Verdict
    decoded: Any = None


class Client:
    """Sends the requests of one connector. Thread-safe; one for a run.

    `home` keeps tokens and budgets for other runs, None keeps them for this process only;
    `budget_store` names a database that keeps the budgets instead, for other machines too.
    `deadline` is when the run ends, on `time.monotonic`, `most_requests` how many it may make.
    """

    def __init__(
        self,
        connector: Connector,
        values: Mapping[str, Any],
        *,
        home: Path | None,
        stop: threading.Event,
        report: Report,
        redactor: Redactor,
        budget_store: str | None = None,
        deadline: float | None = None,
        most_requests: int | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._connector = connector
        self._values = values
        self._stop = stop
        self._report = report
        self._redactor = redactor
        self._clock = clock
        self._store = open_store(budget_store, home)
        self._limiter = Limiter(self._store, scope=connector.name)
        self._tokens = TokenStore(None if home is None else home / "tokens", stop)
        self._transport = Transport(stop, clock)
        self._sender = Sender(
            self._transport,
            self._limiter,
            report,
            most=most_requests,
            deadline=deadline,
            redactor=redactor,
            say=self._say,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes connections and stores; no request may be in flight."""
        self._transport.close()
        self._limiter.close()
        self._store.close()

    def send(
        self,
        form: RequestForm | None,
        request: Request,
        *,
        where: Where,
        decode: Decode | None = None,
        stop: threading.Event | None = None,
    ) -> Outcome:
        """The outcome of an unsigned request, after all the tries that it takes.

        `form` says how it is sent, None means as the connector says. A ValueError of `decode` means
        a broken body, which is asked for again. `stop` ends its waits, else the end of the run.

        Raises:
            ApiError: The API answers wrongly, or not at all.
            CredentialError: The API refuses who we are.
            ConfigError: Settings with which no request can be sent.
            BudgetSpentError, StoppedError, StoreLostError: As the limiter raises them.
        """
        options: Options = form or self._connector
        rules = _rules(form, options.responses)
        job = self._job(options, request, where, self._login(options, where), stop=stop)
        return self._run(job, lambda response: judge(response, rules), decode)

    def token(self, form: RequestForm | None = None, where: Where | None = None) -> dict[str, Any]:
        """The JSON answer of the OAuth token, for `{token.FIELD}`; empty without OAuth."""
        token = self._login(form or self._connector, where or Where()).token()
        return {} if token is None else token.answer

    def walk_stop(self) -> WalkStop:
        """What ends the waits of one walk, and of no other."""
        return WalkStop(self._stop)

    def tell(self, where: Where, what: str) -> None:
        """Count in the report what went wrong with a list, by its short name."""
        self._report.failed(where.stream or NO_STREAM, what)

    def _login(self, options: Options, where: Where, kind: type[Login] = Login) -> Login:
        values = {**self._values, **where.context}

        def fetch(oauth: OAuth2, stored: Token | None, admitted: bool) -> Token:
            bare = _WithoutAuth(options, {} if admitted else options.budgets)
            return self._fetch_token(bare, where, values, oauth, stored)

        return kind(
            options,
            values,
            connector=self._connector.name,
            tokens=self._tokens,
            fetch=fetch,
            redactor=self._redactor,
            clock=self._clock,
        )

    def _job(
        self,
        options: Options,
        request: Request,
        where: Where,
        login: Login,
        label: str = "",
        stop: threading.Event | None = None,
    ) -> Job:
        proxy = options.http.proxy
        filled = UNSET if proxy is None else proxy.fill({**self._values, **where.context})
        patience = Patience(
            options.retry,
            where.label(self._connector.name) + label,
            stream=where.stream or NO_STREAM,
            stop=stop or self._stop,
            limiter=self._limiter,
            report=self._report,
            say=self._say,
        )
        return Job(
            options=options,
            request=msgspec.structs.replace(request, url=canonical(request.url)),
            where=where,
            login=login,
            patience=patience,
            stop=stop or self._stop,
            proxy=None if filled is UNSET else str(filled),
        )

    def _fetch_token(
        self,
        options: Options,
        where: Where,
        values: Mapping[str, Any],
        oauth: OAuth2,
        stored: Token | None,
    ) -> Token:
        """A new token; the caller holds the lock of its chain."""
        if oauth.grant == "refresh_token" and not self._tokens.is_durable:
            raise ConfigError("a rotated refresh token would be lost", do="give a `home`")
        spent = None if stored is None else stored.refresh_token
        request = oauth.token_request(values, spent)
        refuse_readable(canonical(request.url), "token_url")
        self._redactor.learn(*(text.split(" ")[-1] for name, text in request.headers[1:]))
        job = self._job(options, request, where, self._login(options, where, OwnLogin), ": token")
        job.is_leased = False

        def read(response: Response) -> Token:
            return oauth.read_token(response, self._clock(), spent)

        token = self._run(job, _judge_token, read).decoded
        assert isinstance(token, Token)
        return token

    def _run(self, job: Job, judged: Judge, decode: Decode | None) -> Outcome:
        try:
            outcome = job.patience.run(lambda: self._attempt(job, judged, decode))
        except TapSaasError as error:
            self._place(error, job.where)
            raise
        job.patience.recovered(outcome.response.request_id)
        return outcome

    def _attempt(self, job: Job, judged: Judge, decode: Decode | None) -> Outcome:
        """One try, in which the token is renewed once where the API refuses it."""
        response, token = self._sender.follow(job, job.login.token())
        verdict = judged(response)
        if verdict.then == "login" and job.login.trusts(response.url, token):
            renewed = job.login.renewed(token)
            if renewed is not None:
                response, token = self._sender.follow(job, renewed)
                verdict = judged(response)
        if verdict.then in {"retry", "wait"}:
            raise self._again(job, response, verdict)
        if verdict.then in {"fail", "login"}:
            raise self._refused(job, response, verdict, token)
        verdict = msgspec.structs.replace(verdict, message=self._shown(verdict.message))
        if verdict.then != "ok" or decode is None:
            return Outcome(response=response, verdict=verdict)
        return Outcome(response=response, verdict=verdict, decoded=self._decoded(response, decode))

    def _decoded(self, response: Response, decode: Decode) -> Any:
        try:
            return decode(response)
        except ValueError as cause:
            what = html_page(response.body) or str(cause)
            raise AgainError(
                f"{status_text(response.status)}, broken body: {self._shown(what)}",
                kind="broken_body",
                status=response.status,
                request_id=response.request_id,
                message=self._shown(excerpt(response)),
            ) from cause

    def _again(self, job: Job, response: Response, verdict: Verdict) -> AgainError:
        return AgainError(
            status_text(response.status),
            kind=f"http_{response.status}",
            is_wait=verdict.then == "wait",
            asked=retry_after(response.headers, response.received_at),
            buckets=job.buckets,
            status=response.status,
            request_id=response.request_id,
            message=self._shown(verdict.message),
        )

    def _refused(
        self, job: Job, response: Response, verdict: Verdict, token: Token | None
    ) -> TapSaasError:
        """The error for an answer that is final: who may not, or what is wrong."""
        message = self._shown(verdict.message)
        what = status_text(response.status) + (f": {message}" if message else "")
        facts: dict[str, Any] = {"status": response.status, "request_id": response.request_id}
        if response.status not in {401, 403}:
            return ApiError(what, **facts)
        advice = job.login.advice
        if not job.login.trusts(response.url, token):
            host = urlsplit(response.url).netloc
            advice = f"{host} is not the host of base_url and got no credentials; see http.hosts"
        elif response.status == 403:
            advice += ", and what it may read"
        return CredentialError(what, do=advice, **facts)

    def bears_secret(self, text: str) -> bool:
        """True for a text that holds a secret: it may be kept nowhere."""
        return self._redactor.bears_secret(text)

    def _place(self, error: TapSaasError, where: Where) -> None:
        """Says in the error where it happened, and no secret."""
        error.stream = error.stream or where.stream
        error.partition = error.partition or where.partition
        error.page = where.page if error.page is None else error.page
        for fact in ("what", "do", "where", "partition", "request_id"):
            text = getattr(error, fact)
            setattr(error, fact, text and self._redactor.mask(text))
        error.args = (str(error),)

    def _shown(self, message: str | None) -> str | None:
        return None if message is None else one_line(self._redactor.mask(message))

    def _say(self, level: int, text: str) -> None:
        logger.log(level, "%s", self._redactor.mask(text))


class _WithoutAuth:
    """The options of a token request: those of its connector, but nobody signs it again."""

    def __init__(self, options: Options, budgets: dict[str, Budget]) -> None:
        self.base_url = options.base_url
        self.auth: list[Auth] = []
        self.http = options.http
        self.budgets = budgets
        self.retry = options.retry
        self.responses: list[Rule] = []


def _rules(form: RequestForm | None, rules: Sequence[Rule]) -> Sequence[Rule]:
    """The rules of a stream; where its path names a parent, a parent that is gone is a skip."""
    if not isinstance(form, Stream):
        return rules
    parents = {name for parent in form.parents if parent.stream for name in parent.names}
    return [*rules, GONE] if parents & form.path.names else rules


def _judge_token(response: Response) -> Verdict:
    """What a token endpoint answers is read as it is, unless it should be asked again."""
    verdict = judge(response)
    return verdict if verdict.then in {"retry", "wait"} else Verdict("ok")
