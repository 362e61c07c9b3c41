"""The seven answers that one needs before an API is read, from the objects that will read it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from tap_saas.authoring.explain import words
from tap_saas.authoring.explain.changes import incremental, moved
from tap_saas.authoring.explain.ends import at_once, pagination
from tap_saas.authoring.explain.explanation import Answer
from tap_saas.client.stores.bucket import Claim
from tap_saas.connector.budget import Budget, Limit
from tap_saas.connector.fields import HashKey
from tap_saas.connector.model import OBSERVED, Stream
from tap_saas.connector.responses import GONE, RETRIED, Rule
from tap_saas.connector.retry import Retry

SHOWN_WAITS = 4


def answers(
    stream: Stream,
    claims: Sequence[Claim],
    *,
    page_size: int,
    repeated: int,
    start_date: datetime | None,
    parallel: int,
) -> list[Answer]:
    """All seven, in the order in which they are asked.

    `claims` are what a request spends, `repeated` records of a page come in the next one too,
    `parallel` is how many partitions, windows or children are read at a time.
    """
    told = {
        "pagination": [*pagination(stream, page_size, repeated), *at_once(stream, parallel)],
        "rate limit": rate_limit(stream, claims),
        "stable ids for dedupe": stable_ids(stream),
        "incremental parameters": incremental(stream, start_date),
        "checkpoint storage": checkpoint(stream),
        "retries, backoff, max attempts": retries(stream),
        "schema changes": schema(stream),
    }
    return [Answer(question=question, lines=lines) for question, lines in told.items()]


def rate_limit(stream: Stream, claims: Sequence[Claim]) -> list[str]:
    """What is allowed, what a 429 does, which headers are read."""
    spent = [claim for claim in claims if claim.budget in stream.budgets]
    lines = [_allowed(claim, stream.budgets[claim.budget]) for claim in spent]
    if lines:
        lines.append("budgets are kept in `home`: threads, runs and processes share them")
    else:
        lines.append("no budget is stated: as fast as answers come, until the API says 429")
    asking = words.listed(["429", *(_on(rule) for rule in stream.responses if _is_wait(rule))])
    longest = words.duration(stream.retry.total)
    return [
        *lines,
        f"{asking}: all who spend of that budget wait, for Retry-After (seconds or HTTP date) if "
        f"it is there, else {backoff(stream.retry)}",
        f"a Retry-After beyond {longest} ends the run as planned; the next goes on at that page",
    ]


def stable_ids(stream: Stream) -> list[str]:
    """What names a record, and which of its versions stays."""
    keys = ", ".join(stream.key_columns)
    if not keys:
        return ["none (primary_key): a record that is read again is one row more"]
    if isinstance(stream.primary_key, HashKey):
        keys += f" (a digest of {', '.join(map(str, stream.primary_key.hash))})"
    lines = [f"upsert by {keys}: a record that comes again is no second row"]
    if stream.version == OBSERVED:
        column = stream.version_column
        lines.append(f"newest wins: the version that the API gave last stays ({column})")
    elif stream.version_column is not None:
        column = stream.version_column
        lines.append(f"newest wins: the version with the larger {column} stays, in any order")
    else:
        lines.append("nothing orders the versions of a row (version): the last to come stays")
    return lines


def checkpoint(stream: Stream) -> list[str]:
    """Where the checkpoint is, and when it moves."""
    is_consuming = stream.pagination.is_consuming
    kept = (
        "nothing (the pass begins again)" if is_consuming else "last_cursor, the page to go on at"
    )
    watermark = f"; the watermark {moved(stream.incremental)}" if stream.incremental else ""
    return [
        "Singer STATE: in Meltano's state backend, or in state.json by `saasctl state save`",
        "it is believed only as the target returns it: what it speaks of has been written",
        f"after each page: {kept}",
        f"after the pass: last_success_ts{watermark}",
    ]


def retries(stream: Stream) -> list[str]:
    """Which answers are asked for again, how often and after which waits."""
    retry = stream.retry
    codes = ", ".join(map(str, sorted(RETRIED)))
    lines = [
        f"asked again: no answer, a broken body, 5xx, {codes}",
        f"{retry.attempts} attempts: {backoff(retry)}; {_together(retry)} at most together",
        f"at most {words.duration(retry.total)} for one request, then the stream ends with an "
        "error, and the next run goes on at that page",
        "429 uses up no attempt; 401 renews the token once; other 4xx end the stream",
    ]
    own = [f"{_on(rule)}: {rule.then}" for rule in stream.responses if not _is_wait(rule)]
    if own:
        lines.append(f"before all these: {'; '.join(own)}")
    parents = {name for parent in stream.parents if parent.stream for name in parent.names}
    if parents & stream.path.names:
        lines.append(f"{_on(GONE)}: the parent is gone, its list is left out and counted")
    return lines


def schema(stream: Stream) -> list[str]:
    """What a new field, a broken type and a bad record do."""
    new = {
        "evolve": "a new column, null in older rows",
        "ignore": "left out",
        "fail": "the stream ends with an error",
    }
    bad = {
        "reject": "to the table _rejects, with its reason",
        "fail": "the stream ends with an error",
    }
    if isinstance(stream.schema_, dict):
        lines = ["the schema is declared", f"a value of another type: {bad[stream.on_invalid]}"]
    else:
        lines = [
            "the schema is learnt: from one page in the first run, then on and on",
            "a value of another type: to the column <field>__text, the record is kept",
            f"a record without its key: {bad[stream.on_invalid]}",
        ]
    limit = words.percent(stream.max_rejects)
    return [
        *lines,
        f"a new field: {new[stream.on_new_field]}",
        f"more than {limit} rejects: an error, and the next run reads the same records again",
    ]


def backoff(retry: Retry) -> str:
    """`up to 1 s, 2 s, 4 s, 8 s ... 60 s, a random part of each (full jitter)`."""
    waits = longest_waits(retry)
    if not waits:
        return "no second one"
    shown = ", ".join(words.duration(wait) for wait in waits[:SHOWN_WAITS])
    if waits[SHOWN_WAITS:]:
        shown += f" ... {words.duration(max(waits))}"
    return f"up to {shown}, a random part of each (full jitter)"


def longest_waits(retry: Retry) -> list[timedelta]:
    """The longest wait after each failure but the last."""
    return [retry.wait(count, 1.0) for count in range(1, retry.attempts)]


def _together(retry: Retry) -> str:
    return words.duration(min(retry.total, sum(longest_waits(retry), timedelta())))


def _allowed(claim: Claim, budget: Budget) -> str:
    """`budget all: 1,000 requests in 1 h (counted over 3,601 s) and 8 at once`."""
    limits = [_limit(limit) for limit in budget.limits]
    counted = [f"{rate.requests:,} in any {rate.span_s:,g} s" for rate in claim.rates]
    text = f"budget {claim.budget}: {words.listed(limits) or 'as the API says'}"
    if counted:
        text += f"; what is sent: {words.listed(counted)}"
    if budget.match is not None:
        text += f"; for {budget.match}"
    if budget.key is not None:
        text += f"; each value of {budget.key} by itself"
    if budget.spread:
        text += f"; one every {words.duration(claim.gap_s)}, not in bursts"
    if budget.remaining is not None and budget.reset is not None:
        text += f"; the API's own count is read: {budget.remaining}, {budget.reset.take}"
    return text


def _limit(limit: Limit) -> str:
    if limit.requests is None or limit.per is None:
        return f"{limit.concurrent} at once"
    text = f"{limit.requests:,} requests in {words.duration(limit.per)}"
    if limit.reserve:
        text += f", {words.percent(limit.reserve)} left to others"
    return text + (", a spent one ends the run as planned" if limit.spent == "stop" else "")


def _is_wait(rule: Rule) -> bool:
    return rule.then == "wait"


def _on(rule: Rule) -> str:
    """`403, 404 and $.code == 7`."""
    status = [rule.status] if isinstance(rule.status, int) else rule.status or []
    parts = [", ".join(map(str, status))] if status else []
    return words.listed([*parts, *([str(rule.when)] if rule.when else [])])
