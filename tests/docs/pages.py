"""Pages of the documentation: their blocks, and a shell in which their commands run as shown.

In a `console` block a line that begins with `$ ` is a command (`> ` carries it on), the lines after
it are what one sees: `...` stands for lines that are left out, a line that ends in ` ...` is cut.
A `yaml` or `sh` block whose first line is `# name.yaml` is that file. A block after an HTML comment
`<!-- not run: REASON -->` is an illustration.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LEFT_OUT = "..."
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<kind>\w*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FILE = re.compile(r"# ([\w.-]+\.(?:ya?ml|sh|service|timer))\n")
_MARK = "\x1e"
_SCENE = re.compile(r"saasctl demo run \S+$")


class Block(NamedTuple):
    """A fenced block: its page, its language, where its text begins, why it is not run."""

    page: Path
    kind: str
    line: int
    body: str
    reason: str | None

    @property
    def where(self) -> str:
        """`patterns.md:12`, as a failure names it."""
        return f"{self.page.name}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that it shows."""
        named = _FILE.match(self.body)
        return named[1] if named else None


class Command(NamedTuple):
    """A command of a `console` block, and the lines that one sees after it."""

    where: str
    text: str
    shown: list[str]


class Ran(NamedTuple):
    """What a command did."""

    code: int
    lines: list[str]


def blocks(page: Path, *kinds: str) -> list[Block]:
    """The fenced blocks of a page, of some languages."""
    text = page.read_text()
    found = [
        Block(page, m["kind"], text.count("\n", 0, m.start("body")) + 1, m["body"], m["reason"])
        for m in _BLOCK.finditer(text)
    ]
    return [block for block in found if not kinds or block.kind in kinds]


def commands(block: Block) -> Iterator[Command]:
    """The commands of a `console` block, in order."""
    text: str | None = None
    shown: list[str] = []
    begun = block.line
    for number, line in enumerate(block.body.splitlines(), block.line):
        if line.startswith("$ "):
            if text is not None:
                yield Command(f"{block.page.name}:{begun}", text, shown)
            text, shown, begun = line[2:], [], number
        elif line.startswith("> ") and text is not None and not shown:
            text += "\n" + line[2:]
        else:
            shown.append(line)
    if text is not None:
        yield Command(f"{block.page.name}:{begun}", text, shown)


class Shell:
    """One bash, in which the commands of a page run one after the other.

    stderr is shown with stdout, as on a terminal.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)
        self._port = free_port()
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={
                **environment,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "COLUMNS": "120",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, text: str) -> Ran:
        """Run a command to its end; commands that it left in the background go on.

        Port 8700, which pages show, is a free one here.
        """
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        mark = f"{_MARK}{next(self._numbers)}"
        # A command must not read what comes after it from this shell's own stdin.
        text = text.replace("8700", str(self._port))
        self._bash.stdin.write(f"{{ {text}\n}} </dev/null\nprintf '\\n{mark} %s\\n' $?\n")
        self._bash.stdin.flush()
        lines: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(mark):
                while lines and not lines[-1]:
                    lines.pop()
                return Ran(int(line.split()[1]), lines)
            lines.append(line.rstrip())
        raise AssertionError(f"the shell ended in: {text}\n" + "\n".join(lines[-20:]))

    def close(self) -> None:
        """End the shell and all that it started."""
        try:
            os.killpg(self._bash.pid, signal.SIGTERM)
            self._bash.wait(timeout=10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(self._bash.pid, signal.SIGKILL)
            self._bash.wait()
        for pipe in (self._bash.stdin, self._bash.stdout):
            if pipe is not None:
                pipe.close()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


_VARIES = [
    (re.compile(pattern), word)
    for pattern, word in (
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d([.,]\d+)?(Z|\+00(:00)?)?", "INSTANT"),
        (r"127\.0\.0\.1:\d+", "ADDRESS"),
        (r"\b\d+(\.\d+)? (ms|s|min|h)\b", "TIME"),
        (r"\b\d+(\.\d+)? ?(B|KB|MB|GB)\b", "SIZE"),
        (r"(duration|took|waited\w*)(_s)?([=: ]+)\d+(\.\d+)?", r"\1\2\3TIME"),
        (r'"?\b[0-9a-f]{8}(_[0-9a-f]{4}){3}_[0-9a-f]{12}\b"?', "ID"),
        (r"\b[0-9a-f]{8,}\b", "ID"),
        (r"\bdXBkYXRl\w+", "TOKEN"),
        (r"\breq_\d+\b", "ID"),
        (r"/tmp/[\w./-]+", "FOLDER"),
        (r"-{3,}", "---"),
        (r"\s+", " "),
    )
]
"""What another run says otherwise: clocks, addresses, ids. Counts are compared."""


def told(line: str) -> str:
    """A line without what varies from run to run."""
    for pattern, word in _VARIES:
        line = pattern.sub(word, line)
    return line.strip()


def differs(command: Command, ran: Ran) -> str | None:
    """How what a page shows differs from what was printed; `None` where it does not."""
    if ran.code:
        return f"exit code {ran.code}\n" + "\n".join(ran.lines)
    actual, at, may_skip = [told(line) for line in ran.lines], 0, False
    for line in command.shown:
        if line.strip() == LEFT_OUT:
            may_skip = True
            continue
        wanted = told(line)
        found = next((n for n in range(at, len(actual)) if _is(actual[n], wanted)), None)
        if found is None or (found > at and not may_skip):
            return f"not printed: {line}\n" + "\n".join(ran.lines)
        at, may_skip = found + 1, False
    if at < len(actual) and not may_skip:
        return "more is printed than shown:\n" + "\n".join(ran.lines)
    return None


def _is(actual: str, wanted: str) -> bool:
    cut = wanted.removesuffix(" " + LEFT_OUT)
    return actual.startswith(cut) if cut != wanted else actual == wanted


def run_page(page: Path, shell: Shell) -> Iterator[str]:
    """Run all commands of a page; how each differs from what the page shows."""
    for block in blocks(page):
        if block.file is not None:
            (shell.folder / block.file).write_text(block.body)
        elif block.kind == "console" and block.reason is None:
            for command in commands(block):
                scene = _SCENE.match(command.text)
                if scene is not None:
                    why = _untrue(command)
                else:
                    why = differs(command, shell.run(command.text))
                if why is not None:
                    yield f"{command.where}: $ {command.text}\n{why}"


def _untrue(command: Command) -> str | None:
    """The README's demo plays every scene, and its test runs that: a page quotes its lines."""
    demo = {_claim(line) for line in (ROOT / "README.md").read_text().splitlines()}
    lines = [line for line in command.shown if line != LEFT_OUT]
    strange = [line for line in lines if _claim(line) not in demo]
    return f"not in the demo of README.md: {strange}" if strange or not lines else None


def _claim(line: str) -> str:
    return re.sub(r"page \d+ of 100, resumed at \d+", "page K of 100, resumed at R", told(line))
