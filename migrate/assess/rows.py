"""Rows of a database that are deleted only by a mark, the media that hang on them, and the provider's names in columns.

Pure: the lines of a plain SQL dump are fed twice, first all of it to `Tally`, then all of it to `MediaOfDeleted`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from migrate.assess.findings import Leak, LeakKind
from migrate.assess.leaking import named, provider_hosts

MARKED_BY_TIME = re.compile(r"^(deleted|removed|discarded|erased|purged)_?(at|on|time|date)$", re.IGNORECASE)
MARKED_BY_FLAG = re.compile(r"^(is_?)?(deleted|removed|discarded|erased)$", re.IGNORECASE)
MARKED_BY_WORD = re.compile(r"^(status|state|visibility)$", re.IGNORECASE)
NO = ("f", "false", "0", "n", "no", "off")
"""Values of a mark that say that the row lives; a mark may be a moment as well as a flag."""
WORDS = ("deleted", "removed", "discarded", "erased")
ENDINGS = "jpe?g|png|gif|webp|heic|heif|avif|mp4|mov|webm|m4v|mp3|m4a|pdf"
MEDIA = re.compile(rf"\.({ENDINGS})(\?|#|$)", re.IGNORECASE)
ANY_MEDIA = re.compile(rf"\.({ENDINGS})", re.IGNORECASE)
COPY = re.compile(r"^COPY (.+?)(?: \((.*)\))? +FROM stdin(.*);$", re.IGNORECASE)
"""Table, columns, and a form other than the text form, which is not understood."""
INSERT = re.compile(r"^INSERT INTO ", re.IGNORECASE)
STATEMENT = re.compile(
    r"^(SET|CREATE|INSERT INTO|ALTER|COPY|SELECT|DROP|BEGIN|START|GRANT|COMMENT ON|PRAGMA)\b.*[;(]$", re.IGNORECASE
)
FOREIGN_KEY = re.compile(r"FOREIGN KEY \(([^,)]+)\) REFERENCES (.+?)\(")
ALTERED = re.compile(r"^ALTER TABLE (?:ONLY )?(.+[^;])$")
NULL = "\\N"
END = "\\."
MOST_IDS = 5_000_000
"""Ids of deleted rows that are kept in memory to find what hangs on them; about half a gigabyte."""
FIRST_ROWS = "purge them before the dump, or leave them out of it: a migration would publish them again"
FIRST_MEDIA = "take them out of what is exported, or delete them at the source, before the new home serves them"


def says_deleted(column: str, value: str) -> bool:
    """Whether this value of this column marks its row as deleted; values as COPY writes them."""
    if value in (NULL, ""):
        return False
    if MARKED_BY_TIME.match(column):
        return True
    if MARKED_BY_FLAG.match(column):
        return value.lower() not in NO and not value.startswith(("{", "["))
    return bool(MARKED_BY_WORD.match(column)) and value.lower() in WORDS


def could_mark(column: str) -> bool:
    return bool(MARKED_BY_TIME.match(column) or MARKED_BY_FLAG.match(column) or MARKED_BY_WORD.match(column))


@dataclass
class Table:
    """One table of a dump while its rows pass by."""

    name: str
    columns: Sequence[str]

    def __post_init__(self) -> None:
        self.marks = [index for index, column in enumerate(self.columns) if could_mark(column)]

    def is_deleted(self, row: Sequence[str]) -> bool:
        return any(says_deleted(self.columns[index], row[index]) for index in self.marks)


def rows_of(lines: Iterator[str]) -> Iterator[tuple[Table | None, Sequence[str], str]]:
    """(table, row, line): rows of COPY blocks with their table; every other line with None and no row.

    A row that does not fit its table's columns comes without its values."""
    table: Table | None = None
    for raw in lines:
        line = raw.rstrip("\r\n")
        if table is not None and line != END:
            row = line.split("\t")
            yield table, row if len(row) == len(table.columns) else (), line
            continue
        begins = COPY.match(line) if table is None else None
        table = _begun(*begins.groups()) if begins else None
        yield None, (), line


def _begun(name: str, columns: str | None, form: str) -> Table:
    named = columns.split(",") if columns and not form.strip() else []
    return Table(name, [column.strip().strip('"') for column in named])


@dataclass
class Tally:
    """What the first reading of a dump finds."""

    deleted: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    hosts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    keys: list[tuple[str, str, str]] = field(default_factory=list)
    """Foreign keys: table, column, table that it refers to."""
    ids_left_out: int = 0
    statements: int = 0
    """Lines that are SQL: a text without any is no dump."""
    not_understood: int = 0
    """Rows that do not fit their table, and those that INSERT brings."""
    breaks_off: str = ""
    """Table within whose rows the dump ends."""

    def read(self, lines: Iterator[str]) -> "Tally":
        kept = 0
        altered = ""
        for table, row, line in rows_of(lines):
            self.breaks_off = table.name if table else ""
            if table is None:
                altered = self._definition(line, altered)
                continue
            if not row:
                self.not_understood += 1
                continue
            self.rows[table.name] += 1
            if table.is_deleted(row):
                self.deleted[table.name] += 1
                if kept < MOST_IDS and "id" in table.columns:
                    self.ids[table.name].add(row[table.columns.index("id")])
                    kept += 1
                else:
                    self.ids_left_out += 1
            if provider_hosts(line):
                for column, value in zip(table.columns, row, strict=True):
                    self.hosts[f"{table.name}.{column}"].update(provider_hosts(value))
        return self

    def _definition(self, line: str, altered: str) -> str:
        """Takes a foreign key; returns the table that ALTER TABLE speaks of."""
        self.statements += bool(STATEMENT.match(line))
        self.not_understood += bool(INSERT.match(line))
        begins = ALTERED.match(line)
        if begins:
            return begins[1]
        key = FOREIGN_KEY.search(line)
        if key and altered:
            self.keys.append((altered, key[1].strip('"'), key[2]))
        return altered

    def left_out(self, where: str) -> Iterator[str]:
        """What cannot be said of the dump, for its rows were not understood."""
        sought = "deleted rows, their media, and provider hosts in columns"
        if not self.rows:
            yield f"{sought}: no rows understood in {where} (wanted: COPY, not INSERT; the data, not the schema alone)"
        elif self.not_understood:
            one = self.not_understood == 1
            count = "1 row of it is" if one else f"{self.not_understood:,} rows of it are"
            yield f"{sought}, in all of {where}: {count} not understood (wanted: COPY in its text form)"

    def leaks(self, where: str) -> Iterator[Leak]:
        for table, count in sorted(self.deleted.items()):
            yield soft_deleted(where, table, count, self.rows[table])
        for column, hosts in sorted(self.hosts.items()):
            if hosts:
                yield hosts_in_column(where, column, hosts.total(), named(hosts))


@dataclass
class MediaOfDeleted:
    """What the second reading finds: media in deleted rows, and in rows that refer to them."""

    tally: Tally
    media: Counter[str] = field(default_factory=Counter)

    def read(self, lines: Iterator[str]) -> "MediaOfDeleted":
        for table, row, line in rows_of(lines):
            if table is None or not row or not ANY_MEDIA.search(line):
                continue
            if table.is_deleted(row) or self._hangs_on_deleted(table, row):
                self.media[table.name] += sum(bool(MEDIA.search(value)) for value in row)
        return self

    def _hangs_on_deleted(self, table: Table, row: Sequence[str]) -> bool:
        return any(
            row[table.columns.index(column)] in self.tally.ids.get(target, ())
            for source, column, target in self.tally.keys
            if source == table.name and column in table.columns
        )

    def leaks(self, where: str) -> Iterator[Leak]:
        at_least = "; more rows than fit in memory, so at least" if self.tally.ids_left_out else ""
        for table, count in sorted(self.media.items()):
            if count:
                yield media_of_deleted(where, table, count, at_least)


def media_of_deleted(where: str, table: str, count: int, note: str = "") -> Leak:
    return Leak(
        kind=LeakKind.MEDIA_OF_DELETED, where=f"{where}: {table}", found=count,
        detail=f"images and videos of deleted rows, which an export brings along{note}", first=FIRST_MEDIA,
    )  # fmt: skip


def soft_deleted(where: str, table: str, count: int, rows: int | None) -> Leak:
    return Leak(
        kind=LeakKind.SOFT_DELETED, where=f"{where}: {table}", found=count, looked_at=rows,
        detail="rows that a mark calls deleted are still there", first=FIRST_ROWS,
    )  # fmt: skip


def hosts_in_column(where: str, column: str, count: int, detail: str) -> Leak:
    return Leak(
        kind=LeakKind.PROVIDER_HOST, where=f"{where}: {column}", found=count, detail=detail,
        first="name the prefixes in `old_urls` of stack.yaml, which are rewritten; see to the others by hand",
    )  # fmt: skip
