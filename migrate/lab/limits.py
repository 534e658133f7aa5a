"""A bound of the kernel that a dozen disposable hosts reach, and that is raised for them."""

from pathlib import Path

from migrate.errors import UsageProblem

INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
NEEDED_INSTANCES = 2048
"""All hosts share the machine's root user, and systemd takes some ten instances a host: Debian's 128 end at twelve."""


def raise_limits(file: Path = INOTIFY_INSTANCES) -> None:
    """Lifts the bound, and never lowers it. Raises UsageProblem where the kernel does not let us."""
    if int(file.read_text()) >= NEEDED_INSTANCES:
        return
    try:
        file.write_text(f"{NEEDED_INSTANCES}\n")
    except OSError as fault:
        raise UsageProblem(
            f"the bound on inotify instances cannot be lifted: {fault.strerror}",
            where=str(file),
            expected=f"at least {NEEDED_INSTANCES}",
            hint=f"as root, on the machine itself: sysctl -w fs.inotify.max_user_instances={NEEDED_INSTANCES}",
        ) from fault
