"""Which columns of a database can hold an address as text, and the SQL that rewrites them. Pure; values in, SQL out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from urllib.parse import quote, urlsplit

from migrate.errors import UsageProblem
from migrate.restore.server import identifier, literal

URL_TEXT = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9:/._~%@+=?#-]+$")
"""What may stand in an address: nothing that JSON, XML or an array would have to quote."""
SCHEMES = ("https", "http")

COLUMNS_QUERY = r"""
WITH RECURSIVE undomained AS (
    SELECT oid, oid AS type, typtype, typbasetype FROM pg_type
    UNION ALL
    SELECT u.oid, t.oid, t.typtype, t.typbasetype FROM undomained u JOIN pg_type t ON t.oid = u.typbasetype
    WHERE u.typtype = 'd'
),
unwrapped AS (
    SELECT oid, oid AS type, typtype, typbasetype, typelem, typcategory FROM pg_type
    UNION ALL
    SELECT u.oid, t.oid, t.typtype, t.typbasetype, t.typelem, t.typcategory
    FROM unwrapped u JOIN pg_type t ON t.oid = CASE WHEN u.typtype = 'd' THEN u.typbasetype
        WHEN u.typcategory = 'A' THEN u.typelem END
)
SELECT n.nspname AS schema, c.relname AS table, a.attname AS column, c.relkind AS relkind,
    a.attgenerated <> '' AS generated, p.type::regtype::text AS element, u.type::regtype::text AS cast
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN undomained u ON u.oid = a.atttypid AND u.typtype <> 'd'
JOIN unwrapped p ON p.oid = a.atttypid AND p.typtype <> 'd' AND p.typcategory <> 'A'
JOIN pg_type e ON e.oid = p.type
WHERE a.attnum > 0 AND NOT a.attisdropped
AND (c.relkind IN ('r', 'p') AND NOT c.relispartition OR c.relkind = 'm' AND c.relispopulated)
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'cloudexit') AND n.nspname !~ '^pg_(toast|temp)'
AND e.typcategory NOT IN ('N', 'D', 'T', 'B', 'I', 'G', 'V', 'P', 'R', 'E')
AND e.typname NOT IN ('bytea', 'uuid', 'tid', 'xid', 'cid', 'pg_lsn', 'money')
ORDER BY c.oid, a.attnum
"""
"""Every column whose values can hold an address, of every user table and materialized view; domains are unwrapped to
their base type, arrays to their elements. Partitions are reached through their parents."""

TEXTS = {"text", "character varying", "character", "citext"}
DOCUMENTS = {"json", "jsonb", "hstore", "xml"}
"""Types whose values are rewritten: an address stands in all of them as it is, unquoted."""


class Reach(StrEnum):
    """What we can do about an address in a column."""

    REWRITTEN = "rewritten"
    DERIVED = "derived"
    ONLY_LOOKED_AT = "only looked at"


@dataclass(frozen=True)
class Column:
    """One column; `element` is the base type of its values, `cast` that type or an array of it, without domains."""

    schema: str
    table: str
    column: str
    relkind: str
    generated: bool
    element: str
    cast: str

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}.{self.column}"

    @property
    def relation(self) -> str:
        return f"{identifier(self.schema)}.{identifier(self.table)}"

    @property
    def reach(self) -> Reach:
        """Generated columns and materialized views follow what they are made from."""
        if self.generated or self.relkind == "m":
            return Reach.DERIVED
        return Reach.REWRITTEN if self.element.rpartition(".")[2] in TEXTS | DOCUMENTS else Reach.ONLY_LOOKED_AT

    @property
    def only(self) -> str:
        """An ordinary table may have children by inheritance, which are listed by themselves; partitions are not."""
        return "ONLY " if self.relkind == "r" else ""

    @property
    def as_text(self) -> str:
        return f"{identifier(self.column)}::text"

    def contains(self, texts: Iterable[str]) -> str:
        return "(" + " OR ".join(f"strpos({self.as_text}, {literal(text)}) > 0" for text in texts) + ")"

    def rewritten(self, forms: Sequence["Form"]) -> str:
        """The new value. A text is not cast back: assignment refuses what is too long, a cast would cut it off."""
        value = self.as_text
        for form in forms:
            value = f"replace({value}, {literal(form.old)}, {literal(form.new)})"
        return value if self.cast in TEXTS else f"({value})::{self.cast}"


@dataclass(frozen=True)
class Form:
    """One way in which an old address is written, and the new address written the same way."""

    old: str
    new: str


def forms_of(old_urls: Iterable[str], new_url: str) -> list[Form]:
    """Every form of the old addresses, longest first: both schemes, and each plain, with JSON's escaped slashes, and
    percent-encoded as within a query. Raises UsageProblem where an address cannot be rewritten safely."""
    found: dict[str, str] = {}
    new = _with_slash(new_url)
    for old_url in old_urls:
        _, _, rest = _with_slash(old_url).partition("://")
        for scheme in SCHEMES:
            for write in (_plain, _escaped, _percent_encoded):
                found[write(f"{scheme}://{rest}")] = write(new)
    for old in found:
        if old in new:
            raise UsageProblem(
                f"the new media address {new} contains the old one {old}",
                where="stack.yaml: media.*.url",
                expected="an address that a second rewriting would leave alone",
                hint="serve the media under another host name or path",
            )
    return [Form(old, found[old]) for old in sorted(found, key=lambda form: (-len(form), form))]


def old_hosts(old_urls: Iterable[str]) -> list[str]:
    """Host names, with a port where one is given, of the old addresses."""
    return sorted({urlsplit(url).netloc for url in old_urls})


def rewrite_script(columns: Sequence[Column], forms: Sequence[Form], dump: str) -> str:
    """One transaction: counts per column, rewrites, and keeps the counts beside the data they speak of.

    No trigger of the app runs (`updated_at` stays as it was); constraints are enforced all the same."""
    targets = [column for column in columns if column.reach is Reach.REWRITTEN]
    olds = [form.old for form in forms]
    lines = ["BEGIN ISOLATION LEVEL REPEATABLE READ;", "SET LOCAL session_replication_role = replica;"]
    for _, group in groupby(targets, key=lambda column: column.relation):
        table = list(group)
        first = table[0]
        anywhere = " OR ".join(column.contains(olds) for column in table)
        counts = ", ".join(
            f"({literal(c.name)}, (SELECT count(*) FROM {first.only}{first.relation} WHERE {c.contains(olds)}))"
            for c in table
        )
        changes = ", ".join(
            f"{identifier(c.column)} ="
            f" CASE WHEN {c.contains(olds)} THEN {c.rewritten(forms)} ELSE {identifier(c.column)} END"
            for c in table
        )
        lines.append(
            f"INSERT INTO cloudexit.rewrites (dump, column_name, values_rewritten)"
            f" SELECT {literal(dump)}, v.name, v.n FROM (VALUES {counts}) v(name, n) WHERE v.n > 0;"
        )
        lines.append(f"UPDATE {first.only}{first.relation} SET {changes} WHERE {anywhere};")
    views = dict.fromkeys(column.relation for column in columns if column.relkind == "m")
    lines += [f"REFRESH MATERIALIZED VIEW {view};" for view in views]
    lines.append("COMMIT;")
    return "\n".join(lines)


DEFINITIONS_QUERY = r"""
SELECT 'default of ' || d.adrelid::regclass || '.' || a.attname AS name, pg_get_expr(d.adbin, d.adrelid) AS text
FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
UNION ALL
SELECT 'view ' || c.oid::regclass, pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
UNION ALL
SELECT 'function ' || p.oid::regprocedure, p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
UNION ALL
SELECT 'constraint ' || k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k
"""
"""Where an address can stand in the schema itself."""


def definitions_query(texts: Sequence[str]) -> str:
    """Definitions of the schema that contain one of the texts: a default, a view, a function, a constraint."""
    wanted = " OR ".join(f"strpos(d.text, {literal(text)}) > 0" for text in texts)
    return f"SELECT d.name, 1 AS n FROM ({DEFINITIONS_QUERY}) d WHERE {wanted} ORDER BY 1"


def count_query(columns: Sequence[Column], texts: Sequence[str]) -> str:
    """Values that contain one of the texts, per column that has any; empty where there are no columns."""
    return "\nUNION ALL\n".join(
        f"SELECT {literal(column.name)} AS name, count(*) AS n FROM {column.only}{column.relation}"
        f" WHERE {column.contains(texts)} HAVING count(*) > 0"
        for column in columns
    )


def _with_slash(url: str) -> str:
    if not URL_TEXT.match(url):
        raise UsageProblem(
            f"no address that can be rewritten: {url!r}",
            where="stack.yaml: media",
            expected="scheme://host/path of plain URL characters",
        )
    return url if url.endswith("/") else f"{url}/"


def _plain(url: str) -> str:
    return url


def _escaped(url: str) -> str:
    return url.replace("/", "\\/")


def _percent_encoded(url: str) -> str:
    return quote(url, safe="")
