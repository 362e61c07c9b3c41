"""What the demo shows: a scene is a claim of one line that is true of what has just happened.

A new scene is a file with a function that plays on a `Stage`, one that makes the line of what came
of it, the connector beside it, and an entry here.
"""

from __future__ import annotations

from typing import Any

from tap_saas.connector.mistake import alternatives
from tap_saas.demo.scene import Scene
from tap_saas.demo.scenes import budget, changes, kill, push, trouble
from tap_saas.errors import ConfigError

SCENES: tuple[Scene[Any], ...] = (
    Scene("429", "the API says stop, with Retry-After and without", trouble.play, trouble.limited),
    Scene("budget", "more to read than 1,000 requests an hour allow", budget.play, budget.line),
    Scene("kill", "kill -9 in the middle of a list, and on from there", kill.play, kill.line),
    Scene("incremental", "run 2 reads what has changed", changes.play, changes.incremental),
    Scene("late", "an older version of a row comes last", changes.play, changes.late),
    Scene("rejects", "records that are wrong", trouble.play, trouble.rejected),
    Scene("new-field", "the API's records gain a field", changes.play, changes.new_field),
    Scene("webhook", "events come twice, in disorder, one of them forged", push.play, push.webhook),
    Scene("replay", "the event log once more, after the state was lost", push.play, push.replay),
)


def named(name: str) -> Scene[Any]:
    """The scene of that name.

    Raises:
        ConfigError: there is none.
    """
    known = {scene.name: scene for scene in SCENES}
    if name not in known:
        do = alternatives(name, known) or "`saasctl demo scenes` lists them"
        raise ConfigError(f'there is no scene "{name}"', do=do)
    return known[name]
