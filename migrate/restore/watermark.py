"""How far the writes of a database have come: rows and newest value of the columns that grow with each write."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from migrate.restore.server import identifier, literal


@dataclass(frozen=True)
class Watermark:
    """Rows of a table, and the newest value of its watermark column: ISO 8601 for a time; None in an empty table."""

    rows: int
    newest: str | None

    @property
    def newest_time(self) -> datetime | None:
        """None where there is no row, or the column holds no time; a time without a zone is UTC."""
        try:
            moment = datetime.fromisoformat(self.newest or "")
        except ValueError:
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def watermarks_query(columns: Mapping[str, str]) -> str:
    """One row a table: name, n, newest. `columns` is table -> column, the table with its schema where it has one."""
    return "\nUNION ALL\n".join(
        f"SELECT {literal(table)} AS name, count(*) AS n, to_json(max({identifier(column)})) #>> '{{}}' AS newest"
        f" FROM {qualified(table)}"
        for table, column in columns.items()
    )


def qualified(table: str) -> str:
    """`users` or `public.users` as SQL."""
    return ".".join(identifier(part) for part in table.split(".", 1))
