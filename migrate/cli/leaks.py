"""`assess`: the leaks that must be looked for, each where the operator says."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from migrate.adapters.aws_account.calls import Calls
from migrate.adapters.aws_account.pictures import sampled_positions
from migrate.adapters.database_leaks import leaks_of_database, require_connection
from migrate.adapters.dumps import EXPECTED, dump_lines, require_file
from migrate.adapters.texts import hosts_in, require_readable_kind
from migrate.assess.findings import Leak
from migrate.assess.leaking import hosts_in_file, hosts_of_library, not_looked_at
from migrate.assess.observed import Observed, Resource, Unseen
from migrate.assess.rows import MediaOfDeleted, Tally
from migrate.cli.output import Output
from migrate.errors import UsageProblem
from migrate.secret import Secret
from migrate.stack import Stack

VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Sought:
    """What to look through: images of each bucket, a dump, a database (the variable with its URL), files."""

    sample: int
    dump: Path | None
    database: str | None
    code: tuple[Path, ...]

    def require_there(self) -> None:
        """Raises UsageProblem where something is named that is not there, before anybody is asked anything."""
        for option, path in (("--dump", self.dump), *(("--code", path) for path in self.code)):
            if path is not None and _is_missing(path):
                raise UsageProblem("no such file", where=f"{option} {path}", expected="a file or folder")
        for path in self.code:
            require_readable_kind(path)
        if self.dump:
            require_file(self.dump)
        if self.database is not None:
            require_connection(_url_of(self.database), f"--database {self.database}")

    def left_out(self) -> Iterator[str]:
        if not self.sample:
            yield "positions in images (--sample N)"
        if not (self.dump or self.database):
            yield "deleted rows, their media, and provider hosts in columns (--dump FILE or --database VARIABLE)"
        if not self.code:
            yield "provider hosts in releases and configuration (--code PATH)"


def seek(
    sought: Sought, calls: Calls, observed: Observed, stack: Stack | None, output: Output
) -> tuple[list[Leak], list[str], list[Unseen]]:
    """Leaks, what was not looked for, and what was not seen. Raises UsageProblem, Unreachable or Refused."""
    leaks: list[Leak] = []
    unseen: list[Unseen] = []
    left_out = list(sought.left_out())
    if sought.sample:
        buckets = _with_images(observed, stack)
        output.say(f"reading up to {sought.sample} objects in each of {len(buckets)} buckets, 256 KiB of each at most")
        leaks, unseen, looked = sampled_positions(calls, buckets, sought.sample)
        left_out += [*looked, *not_sampled(_buckets(observed), stack)]
    if sought.dump:
        output.say(f"reading {escape(str(sought.dump))}, twice")
        found, not_understood = leaks_of_dump(sought.dump)
        leaks += found
        left_out += not_understood
    if sought.database:
        output.say(f"asking the database of {sought.database}, read-only")
        found, missed = leaks_of_database(_url_of(sought.database), f"--database {sought.database}")
        leaks += found
        unseen += missed
    for path in sought.code:
        output.say(f"looking through {escape(str(path))}")
        found, not_read = leaks_of_files(path)
        leaks += found
        left_out += not_read
    return leaks, left_out, unseen


def _is_missing(path: Path) -> bool:
    try:
        return not path.exists()
    except OSError:  # there, perhaps: who opens it says why not
        return False


def _url_of(variable: str) -> Secret:
    """Raises UsageProblem; what is no name of a variable may be a URL with its password, and is not repeated."""
    named = VARIABLE.fullmatch(variable)
    url = os.environ.get(variable, "") if named else ""
    if not url:
        raise UsageProblem(
            f"the environment has no {variable}" if named else "what was given is not the name of a variable",
            where="--database",
            expected="name of a variable that holds postgresql://USER:PASSWORD@HOST/NAME",
            hint="a URL holds a password, so it is not taken from the command line",
        )
    return Secret(url)


def _buckets(observed: Observed) -> list[Resource]:
    return [r for r in observed.resources if (r.service, r.kind) == ("s3", "bucket")]


def _with_images(observed: Observed, stack: Stack | None) -> list[Resource]:
    """Buckets of media, by the manifest; without one, all that are not known to be empty."""
    media = _media(stack)
    if media:
        return [bucket for bucket in _buckets(observed) if bucket.name in media]
    return [bucket for bucket in _buckets(observed) if bucket.facts.get("objects") != 0]


def _media(stack: Stack | None) -> set[str]:
    return {name for name, bucket in stack.buckets.items() if bucket.holds == "media"} if stack else set()


def not_sampled(buckets: Sequence[Resource], stack: Stack | None) -> list[str]:
    """The buckets of which no image is read because the manifest calls others those of media."""
    media = _media(stack)
    others = [bucket.name for bucket in buckets if bucket.name not in media] if media else []
    if not others:
        return []
    noun = f"bucket{'s' * (len(others) != 1)}"
    return [f"positions in images of {len(others):,} {noun} that the manifest does not call media: {', '.join(others)}"]


def leaks_of_dump(path: Path) -> tuple[list[Leak], list[str]]:
    """Leaks of a dump, and what was not looked for in it. Raises UsageProblem where it is no dump, or not whole."""
    with dump_lines(path) as lines:
        tally = Tally().read(lines)
    if tally.breaks_off:
        raise _no_dump(path, f"the dump breaks off within the rows of {tally.breaks_off}")
    if not (tally.rows or tally.statements):
        raise _no_dump(path, "this is no dump that is understood: no SQL")
    leaks = list(tally.leaks(str(path)))
    if tally.deleted:
        with dump_lines(path) as lines:
            leaks += MediaOfDeleted(tally).read(lines).leaks(str(path))
    return leaks, list(tally.left_out(str(path)))


def _no_dump(path: Path, what: str) -> UsageProblem:
    return UsageProblem(what, where=f"--dump {path}", expected=EXPECTED)


def leaks_of_files(path: Path) -> tuple[list[Leak], list[str]]:
    """Leaks of files, and which of them were not looked at. Raises UsageProblem where nothing can be looked at."""
    looked = hosts_in(path)
    if not looked.whole:
        raise UsageProblem(
            "more than 4 GiB to look through", where=f"--code {path}", expected="one release or one checkout"
        )
    leaks = [hosts_in_file(f"{path}: {name}" if path.is_dir() else name, hosts) for name, hosts in looked.hosts.items()]
    leaks += [hosts_of_library(f"{path}: {sdk}") for sdk in sorted(looked.libraries)]
    return leaks, list(not_looked_at(str(path), looked.missed))
