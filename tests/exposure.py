"""Where a secret shows: command lines while something runs, files that anybody may read, logs and journals after it."""

import contextlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from migrate.secret import Secret

LOOK_EVERY_SECONDS = 0.05
SHORTEST = 12
"""Shorter lines of a key (its last one) could stand anywhere."""
LOOK_ON_HOST = r"""
import json, os, stat, subprocess, sys
needles = {name: [text.encode() for text in texts] for name, texts in json.load(sys.stdin).items()}
SKIPPED = ("/proc", "/sys", "/dev", "/usr", "/lib", "/bin", "/sbin", "/boot", "/var/cache/apt", "/var/lib/dpkg",
           "/var/log/journal")

def hits(where, content):
    return [[where, name] for name, texts in needles.items() if any(text in content for text in texts)]

def read(path):
    with open(path, "rb") as stream:
        return stream.read()

def files(top, entered):
    for entry in os.scandir(top):
        if entry.path.startswith(SKIPPED) or entry.is_symlink():
            continue
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            yield from files(entry.path, entered and bool(mode & stat.S_IXOTH))
        elif stat.S_ISREG(mode) and (entered and mode & stat.S_IROTH or entry.path.startswith("/var/log/")):
            yield entry.path

found, looked = [], 0
for path in files("/", True):
    try:
        found += hits(path, read(path))
        looked += 1
    except FileNotFoundError:
        pass
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        found += hits("command line: " + read(f"/proc/{pid}/comm").decode().strip(), read(f"/proc/{pid}/cmdline"))
    except (FileNotFoundError, ProcessLookupError):
        pass
asked = ["journalctl", "--no-pager", "-o", "export", "--all"]
journal = subprocess.run(asked, stdout=subprocess.PIPE, check=True).stdout
found += hits("the journal", journal)
json.dump({"found": found, "files": looked, "journal": len(journal)}, sys.stdout)
"""
"""A program for a host: what shows the texts that it reads from its standard input."""


def needles(secrets: Mapping[str, Secret]) -> dict[str, list[str]]:
    """What to look for: each secret, and each line of one that has several."""
    found = {}
    for name, secret in secrets.items():
        lines = [line for line in secret.reveal().splitlines() if not line.startswith("-----")]
        found[name] = [line for line in lines if len(line) >= SHORTEST]
    return found


def shown_in(texts: Iterable[tuple[str, bytes]], secrets: Mapping[str, Secret]) -> list[tuple[str, str]]:
    """(where, which secret) for each text, given with its name, that holds a secret."""
    wanted = needles(secrets)
    return [
        (where, name)
        for where, content in texts
        for name, lines in wanted.items()
        if any(line.encode() in content for line in lines)
    ]


def files_below(folder: Path, but: Iterable[str] = ()) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder but those of some names, with its content."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name not in but:
            yield str(path.relative_to(folder)), path.read_bytes()


def question(secrets: Mapping[str, Secret]) -> bytes:
    """Standard input for LOOK_ON_HOST."""
    return json.dumps(needles(secrets)).encode()


@dataclass
class ProcessWatch:
    """Every command line that was seen on this machine, those of its disposable hosts among them."""

    seen: set[bytes] = field(default_factory=set)
    looks: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator["ProcessWatch"]:
        """Looks again and again until the block ends."""
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join(timeout=10)

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(LOOK_EVERY_SECONDS):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.seen.add(path.read_bytes())
