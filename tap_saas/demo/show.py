"""Scenes on their stages: all of them one line each, or one with its detail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tap_saas.demo.scene import Scene, UntrueError
from tap_saas.demo.stage import Stage, Tell
from tap_saas.errors import TargetError

Play = Callable[[Stage], Any]
AT_ONCE = 3  # one of them mostly waits


def show_all(scenes: Iterable[Scene[Any]], database_url: str, tell: Tell) -> bool:
    """Show scenes, a line each in their order; true where all of them are true."""
    scenes = list(scenes)
    plays = list(dict.fromkeys(scene.play for scene in scenes))
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        played = {play: pool.submit(_played, play, database_url, _silent) for play in plays}
        shown = [_show(scene, played[scene.play].result, tell) for scene in scenes]
    finally:
        pool.shutdown(cancel_futures=True)
    return all(shown)


def show_one(scene: Scene[Any], database_url: str, tell: Tell) -> bool:
    """Show one scene, what happens first."""
    return _show(scene, lambda: _played(scene.play, database_url, tell), tell)


def _show(scene: Scene[Any], evidence: Callable[[], Any], tell: Tell) -> bool:
    try:
        tell(scene.line(evidence()))
    except (UntrueError, TargetError) as error:
        tell(f"{scene.name}: NOT SO: {error}; see `saasctl demo run {scene.name}`")
        return False
    return True


def _played(play: Play, database_url: str, tell: Tell) -> Any:
    name = play.__module__.rpartition(".")[2]
    with Stage(name, database_url, tell) as stage:
        return play(stage)


def _silent(line: str) -> None:
    """Nobody asked for the detail."""
