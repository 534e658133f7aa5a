"""The releases of Debian that the hosts of a lab can be of."""

from enum import StrEnum


class Release(StrEnum):
    """By number, as people name them; apt goes by the code name."""

    BOOKWORM = "12"
    TRIXIE = "13"

    @property
    def codename(self) -> str:
        return self.name.lower()

    @property
    def suites(self) -> tuple[str, str, str]:
        """Code names of the suites that hosts get their packages from; the first must be there."""
        return (self.codename, f"{self.codename}-updates", f"{self.codename}-security")


DEFAULT_RELEASE = Release.BOOKWORM
