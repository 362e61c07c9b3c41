"""What will not work as planned, each with what to do."""

from __future__ import annotations

from tap_saas.authoring.explain import words
from tap_saas.authoring.explain.assumed import DAY_S, Assumed
from tap_saas.authoring.explain.explanation import Figures
from tap_saas.authoring.explain.volume import Volume, ancestors
from tap_saas.config import SCHEMA
from tap_saas.connector.model import Stream

LONG_S = DAY_S


def troubles(
    stream: Stream, assumed: Assumed, volume: Volume, first: Figures, later: Figures
) -> list[str]:
    """The warnings about one stream's plan."""
    found = [
        *_of_time(assumed, first, later),
        *_of_parents(stream, volume, later),
        *_of_windows(stream, assumed, volume),
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
    lists, found = volume.partitions, []
    if later.seconds > 3_600:
        found.append(
            f"each run asks for the lists of {words.counted(lists, 'parent')} ({above[-1].name}): "
            f"{words.duration(later.seconds)}; read them less often (every: 1d)"
        )
    most: int = SCHEMA["properties"]["max_partitions"]["default"]
    if stream.incremental is not None and lists > most:
        found.append(
            f"{words.number(lists)} partitions, each with a bookmark of its own, are more than "
            f"max_partitions ({words.number(most)}): the run ends with an error; leave out "
            "`incremental` here, or raise max_partitions"
        )
    return found


def _of_windows(stream: Stream, assumed: Assumed, volume: Volume) -> list[str]:
    found = []
    incremental, cap = stream.incremental, stream.pagination.cap
    walks = volume.partitions * len(volume.first_windows())
    each = assumed.records_of(stream.name) // max(1, walks)
    if cap is not None and each >= cap.records:
        found.append(
            f"a list has about {words.number(each)} records, the API shows {cap.records:,}: each "
            "is read in smaller windows, which costs more requests than are counted here"
        )
    if incremental is not None and incremental.retention is not None:
        kept_s = incremental.retention.total_seconds()
        if assumed.interval_s > kept_s:
            found.append(
                f"the API keeps changes for {words.duration(kept_s)}, and a run begins every "
                f"{words.duration(assumed.interval_s)}: each would read everything"
            )
    return found
