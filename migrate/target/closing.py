"""A host that is being switched is closed to everybody but itself, so that no user meets a release before its gate.

Who asks for the port meanwhile is refused at once, and an edge asks the next host. Requests under way go on. The rule
lives in a table of its own, and ends by itself: a command that dies leaves no host closed for good.
"""

from collections.abc import Sequence

from migrate.errors import GateHeld
from migrate.inventory import Host
from migrate.ports import Hosts

TABLE = "inet cloudexit_switching"
GONE = f"add table {TABLE}\ndelete table {TABLE}\n"


def closed_ruleset(ports: Sequence[int], seconds: float) -> str:
    """nft's text: new connections to the ports are reset for so long, but for those to the loopback addresses."""
    elements = ", ".join(f"{port} timeout {int(seconds)}s" for port in ports)
    return (
        f"{GONE}add table {TABLE}\n"
        f"add set {TABLE} closed {{ type inet_service; flags timeout; }}\n"
        f"add chain {TABLE} input {{ type filter hook input priority -10; policy accept; }}\n"
        f"add rule {TABLE} input ip daddr 127.0.0.0/8 accept\n"
        f"add rule {TABLE} input ip6 daddr ::1 accept\n"
        f"add rule {TABLE} input tcp dport @closed ct state new reject with tcp reset\n"
        f"add element {TABLE} closed {{ {elements} }}\n"
    )


def close_ports(hosts: Hosts, host: Host, ports: Sequence[int], seconds: float) -> None:
    """Raises GateHeld where the host does not take the rule; Unreachable."""
    _load(hosts, host, closed_ruleset(ports, seconds))


def open_ports(hosts: Hosts, host: Host) -> None:
    """Takes the rule away, if there is one."""
    _load(hosts, host, GONE)


def _load(hosts: Hosts, host: Host, ruleset: str) -> None:
    done = hosts.run(host, ["nft", "-f", "-"], stdin=ruleset.encode())
    if not done:
        raise GateHeld(
            f"its ports could not be closed or opened: {done.stderr.strip().splitlines()[:1]}",
            where=host.name,
            expected=f"nft to take the table {TABLE}",
            hint="provision the host, then run the same command again",
        )
