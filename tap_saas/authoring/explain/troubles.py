"""What will not work as planned, each with what to do."""

from __future__ import annotations

from tap_saas.authoring.explain import words
from tap_saas.authoring.explain.assumed import DAY_S, Assumed
from tap_saas.authoring.explain.explanation import Figures
from tap_saas.authoring.explain.volume import Volume, ancestors, has_changed_parents
from tap_saas.config import SCHEMA
from tap_saas.connector.model import Stream
from tap_saas.sync.partitions import parent_stream

LONG_S = DAY_S


def troubles(
    stream: Stream, assumed: Assumed, volume: Volume, first: Figures, later: Figures
) -> list[str]:
    """The warnings about one stream's plan."""
    found = [
        *_of_time(assumed, first, later),
        *_of_parents(stream, volume, later),
        *_of_windows(stream, assumed),
        *_of_caps(stream, assumed, volume),
    ]
    if not stream.key_columns:
        found.append("there is no primary_key: each run adds its rows once more; name one")
    if stream.incremental is None and later.requests > 1 and not stream.parents:
        found.append("each run reads everything; `incremental` would read only what changed")
    return found


def _of_time(assumed: Assumed, first: Figures, later: Figures) -> list[str]:
    found = []
    interval = assumed.interval_s
    if later.seconds > interval:
        found.append(
            f"a run takes {words.duration(later.seconds)}, but one begins every "
            f"{words.duration(interval)}: run it less often, or ask for less"
        )
    if first.seconds > max(LONG_S, interval):
        found.append(
            f"the first run takes {words.duration(first.seconds)}: it may be stopped at any page "
            "and goes on there (max_duration), or begin later (start_date)"
        )
    return found


def _of_parents(stream: Stream, volume: Volume, later: Figures) -> list[str]:
    above = ancestors(volume.subject, stream)
    if not above:
        return []
    lists, found = volume.later_partitions, []
    if later.seconds > 3_600:
        found.append(
            f"each run asks for the lists of {words.counted(lists, 'parent')} ({above[-1].name}): "
            f"{words.duration(later.seconds)}; read them less often (every: 1d)"
        )
    most: int = SCHEMA["properties"]["max_partitions"]["default"]
    form, lists = parent_stream(stream), volume.partitions
    if form is not None and form.changed is not None and not has_changed_parents(stream, above[-1]):
        found.append(
            f"all {above[-1].name} count as changed, as their API cannot filter by it: "
            "`parents.changed` saves nothing"
        )
    has_one = form is not None and form.since is not None
    if stream.incremental is not None and not has_one and lists > most:
        found.append(
            f"{words.number(lists)} partitions, each with a bookmark of its own, are more than "
            f"max_partitions ({words.number(most)}): the run ends with an error; say "
            "`parents.since`, leave out `incremental` here, or raise max_partitions"
        )
    return found


def _of_caps(stream: Stream, assumed: Assumed, volume: Volume) -> list[str]:
    """Lists of which the API shows only a part."""
    found, cap = [], stream.pagination.cap
    walks = max(1, volume.partitions) * len(volume.first_windows())
    each = assumed.records_of(stream.name) // walks
    helps = {
        "split": "each is read in smaller windows, which costs more requests than are counted here",
        "seek": "the rest is asked for from the last record's replication key on, in more lists",
    }
    if cap is not None and each >= cap.records:
        found.append(
            f"a list has about {words.number(each)} records, the API shows {cap.records:,}: "
            f"{helps[cap.then]}"
        )
    for above in ancestors(volume.subject, stream):
        limit, records = above.pagination.cap, assumed.records_of(above.name)
        if limit is not None and limit.then == "split" and records >= limit.records:
            found.append(
                f"{above.name} has about {words.number(records)} records, the API shows "
                f"{limit.records:,}, and parents are read as one list: such a run ends with an "
                "error; take the parents from a list without a cap"
            )
    return found


def _of_windows(stream: Stream, assumed: Assumed) -> list[str]:
    found = []
    incremental = stream.incremental
    if incremental is not None and incremental.retention is not None:
        kept_s = incremental.retention.total_seconds()
        if assumed.interval_s > kept_s:
            found.append(
                f"the API keeps changes for {words.duration(kept_s)}, and a run begins every "
                f"{words.duration(assumed.interval_s)}: each would read everything"
            )
    return found
