"""Where the app goes: hosts, groups and addresses, read from an Ansible inventory in YAML."""

import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migrate.datadisks import STORAGE, storage_faults
from migrate.documents import Document, FieldPath, read_yaml
from migrate.errors import DocumentProblems, UsageProblem
from migrate.figures import MOST_BYTES, parse_size
from migrate.hostranges import FIRST_ADDRESS, address_of, expand, is_range
from migrate.leads import LEADS as LEADS
from migrate.leads import leads_beside
from migrate.logins import USERS, login_faults, logins_of
from migrate.plan import digest_of
from migrate.stack import WATCHING_KINDS, Stack

INVENTORY_HINT = "name the inventory: -i inventory/hosts.yml, or make one: cloudexit init DIR"
FILES_EXPECTED = {
    "ansible_ssh_private_key_file": "the private key that signs in; leave it out to use the keys of the ssh agent",
    "cloudexit_known_hosts": "the hosts' own keys, pinned: ssh-keyscan ADDRESS, compared with the console",
}
GROUP_KEYS = {"hosts", "children", "vars"}
RESOURCES = {
    "cloudexit_disk": "bytes free for data, as 14TB or 900GiB",
    "cloudexit_files": "files (inodes) free for data, as a number",
    "cloudexit_memory": "bytes free, as 64GiB",
    "cloudexit_cores": "a number of cores",
}
"""Variables that say what a host has; `cloudexit plan` holds the need against them."""


@dataclass(frozen=True)
class Host:
    """One host of the new home and how it is reached."""

    name: str
    address: str
    groups: tuple[str, ...]
    user: str = "root"
    port: int = 22
    private_key: Path | None = None
    known_hosts: Path | None = None


@dataclass(frozen=True)
class Inventory:
    """Hosts by name; `path` is the file that Ansible itself reads."""

    path: Path
    hosts: Mapping[str, Host]
    variables: Mapping[str, Any] = field(default_factory=dict)
    leads: Mapping[str, str] = field(default_factory=dict)
    """Group -> the host that leads it, where that is another than its first: what a fail-over left behind."""
    merged: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Host -> all its variables, those of its groups among them."""
    document: Document | None = field(default=None, compare=False, repr=False)
    fields: Mapping[str, FieldPath] = field(default_factory=dict, compare=False, repr=False)
    """Host -> where it stands in the document."""

    def where(self, field_path: FieldPath) -> str:
        """`file:line: field`, or the file alone for an inventory that was not read from one."""
        return self.document.where(field_path) if self.document else str(self.path)

    def where_of_host(self, name: str, variable: str = "") -> str:
        """`file:line: field` of a host, or of a variable wherever in the file it was set for the host."""
        own = self.fields.get(name, ("all",))
        lines = self.document.lines if self.document else {}
        parents = [own[:length] for length in range(len(own), 0, -1)] if variable else []
        for parent in parents:
            for candidate in ((*parent, variable), (*parent, "vars", variable)):
                if candidate in lines:
                    return self.where(candidate)
        return self.where(own)

    def group(self, name: str) -> list[Host]:
        """Hosts of a group: the one that leads it, then the others in the inventory's order."""
        members = [host for host in self.hosts.values() if name in host.groups]
        return sorted(members, key=lambda host: host.name != self.leads.get(name))

    def lead(self, group: str) -> Host:
        """The host of a group that takes its writes: the first, or the one that a fail-over made it."""
        return self.group(group)[0]

    def address(self, group: str) -> str:
        """Address of the host that leads a group."""
        return self.lead(group).address

    @property
    def digest(self) -> str:
        """Covers how each host is reached and everything that Ansible is told of it."""
        told = {
            h.name: [h.address, sorted(h.groups), h.user, h.port, self.merged.get(h.name, {})]
            for h in self.hosts.values()
        }
        if self.leads:
            told[""] = [dict(self.leads)]  # the name of no host
        # Keys that are no text (1: …, a date) are no JSON: texts throughout, so that they can be sorted.
        return digest_of(json.loads(json.dumps(_with_text_keys(told), default=str)))


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(inner) for key, inner in value.items()}
    return [_with_text_keys(inner) for inner in value] if isinstance(value, list | tuple) else value


def read_inventory(path: Path) -> Inventory:
    """Reads a static YAML inventory (a file, or hosts.yml in a folder); raises UsageProblem with file and line."""
    if path.is_dir():
        path = path / "hosts.yml"
    document = read_yaml(path, INVENTORY_HINT)
    content = document.content
    if not isinstance(content, dict) or not isinstance(content.get("all"), dict):
        raise document.problem((), "no group `all`", expected="an Ansible inventory in YAML: all: {hosts, children}")
    reader = _Reader(document)
    reader.read_group(("all",), content["all"], (), {})
    reader.settle()
    if reader.problems:
        raise DocumentProblems(reader.problems)
    if not reader.hosts:
        raise document.problem(("all",), "no hosts", expected="at least one host with ansible_host")
    reader.problems.extend(problem for name in reader.hosts for problem in reader.faults(name))
    if reader.problems:
        raise DocumentProblems(reader.problems)
    hosts = {name: reader.host(name) for name in reader.hosts}
    return Inventory(
        path, hosts, content["all"].get("vars") or {}, read_leads(path, hosts), reader.hosts, document, reader.fields
    )


def read_leads(inventory: Path, hosts: Mapping[str, Host]) -> dict[str, str]:
    """See leads_beside."""
    return leads_beside(inventory, {host.name: host.groups for host in hosts.values()})


def on_hosts_of(stack: Stack, inventory: Inventory) -> Stack:
    """The stack without the services that watch and keep (backup, monitor, logs, packages) where their group has no
    host: an inventory need not have them. Everything else that lacks a host is left to `hold_against`."""
    absent = {name for name, s in stack.services.items() if s.kind in WATCHING_KINDS and not inventory.group(s.group)}
    kept = {
        name: s.model_copy(update={"after": tuple(before for before in s.after if before not in absent)})
        for name, s in stack.services.items()
        if name not in absent
    }
    return stack.model_copy(update={"services": kept}) if absent else stack


def hold_against(stack: Stack, inventory: Inventory) -> None:
    """Raises DocumentProblems: a group that the stack needs has no host, a host is in none, two have one address."""
    problems = [*_misfits(stack.groups(), inventory), *_taken_names(stack, inventory)]
    if problems:
        raise DocumentProblems(problems)


def _misfits(needed: list[str], inventory: Inventory) -> Iterator[UsageProblem]:
    for group in needed:
        if not inventory.group(group):
            yield UsageProblem(
                f"the group {group!r} has no host",
                where=inventory.where(("all", "children", group)),
                expected=f"at least one host in each of: {', '.join(needed)}",
                hint=f"add a host under children.{group}.hosts",
            )
    holders: dict[str, str] = {}
    for host in inventory.hosts.values():
        if not set(host.groups) & set(needed):
            yield UsageProblem(
                f"the host {host.name!r} is in no group of the stack",
                where=inventory.where_of_host(host.name),
                expected=f"one of: {', '.join(needed)}",
                hint="add it to a group, or take it out",
            )
        first = holders.setdefault(_one_spelling(host.address), host.name)
        if first != host.name:
            yield UsageProblem(
                f"the hosts {first!r} and {host.name!r} have one address: {host.address}",
                where=inventory.where_of_host(host.name, "ansible_host"),
                expected="an address of its own for each host; one host may be in several groups",
            )


def _one_spelling(address: str) -> str:
    """2001:db8::1 and 2001:DB8:0::1 are one machine."""
    return str(ipaddress.ip_address(address)) if _is_address(address) else address


def _taken_names(stack: Stack, inventory: Inventory) -> Iterator[UsageProblem]:
    of_the_app = {release.user for release in stack.releases.values()}
    for host in inventory.hosts:
        for login in logins_of(inventory.merged.get(host, {}).get(USERS)):
            if login.name in of_the_app:
                yield UsageProblem(
                    f"{login.name!r} is the user that the app runs as",
                    where=inventory.where_of_host(host, USERS),
                    expected="people under names of their own",
                )


def require_files(inventory: Inventory) -> None:
    """Raises DocumentProblems where a private key or known_hosts that the inventory names is not there."""
    problems: dict[str, UsageProblem] = {}
    for host in inventory.hosts.values():
        named = (("ansible_ssh_private_key_file", host.private_key), ("cloudexit_known_hosts", host.known_hosts))
        for variable, file in named:
            if file and not file.is_file():
                where = inventory.where_of_host(host.name, variable)
                problems[where] = UsageProblem(f"no such file: {file}", where=where, expected=FILES_EXPECTED[variable])
    if problems:
        raise DocumentProblems(list(problems.values()))


Given = dict[str, tuple[FieldPath, Any]]
"""Variable -> the group that gives it, and its value."""


def _is_below(group: FieldPath, other: FieldPath) -> bool:
    """Whether a group is `other` or stands below it."""
    return group[: len(other)] == other


class _Reader:
    """Collects hosts, their groups and their variables while it walks the groups."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.hosts: dict[str, dict[str, Any]] = {}
        """Host -> its variables, once all groups are read: those of its groups, and its own, which win."""
        self.of_groups: dict[str, Given] = {}
        self.disputed: dict[tuple[str, str], tuple[FieldPath, FieldPath]] = {}
        self.fields: dict[str, FieldPath] = {}
        self.groups: dict[str, list[str]] = {}
        self.problems: list[UsageProblem] = []

    def read_group(self, where: FieldPath, group: object, parents: tuple[str, ...], inherited: Given) -> None:
        if group is None:
            return
        if not isinstance(group, dict):
            self.problems.append(self.document.problem(where, "not a group", expected="hosts, children, vars"))
            return
        for key in set(group) - GROUP_KEYS:
            self.problems.append(
                self.document.problem((*where, key), "unknown key", expected="hosts, children or vars")
            )
        variables = {**inherited, **{n: (where, value) for n, value in self._mapping(where, group, "vars").items()}}
        names = (*parents, str(where[-1]))
        for name, own in self._mapping(where, group, "hosts").items():
            field_path = (*where, "hosts", name)
            if own is not None and not isinstance(own, dict):
                self.problems.append(self.document.problem(field_path, "not a host", expected="its variables"))
                continue
            for position, host in enumerate(self._names(field_path, str(name))):
                self._add_host(field_path, host, variables, {**self._address(field_path, own, position), **(own or {})})
                self.groups.setdefault(host, []).extend(names)
        for name, child in self._mapping(where, group, "children").items():
            self.read_group((*where, "children", name), child, names, variables)

    def _names(self, where: FieldPath, name: str) -> list[str]:
        if not is_range(name):
            return [name]
        try:
            return expand(name)
        except ValueError as fault:
            self.problems.append(self.document.problem(where, f"no range of hosts: {name!r}", expected=str(fault)))
            return []

    def _address(self, where: FieldPath, own: Mapping[str, Any] | None, position: int) -> dict[str, Any]:
        try:
            return address_of(own or {}, position)
        except ValueError as fault:
            if not position:
                self.problems.append(
                    self.document.problem((*where, FIRST_ADDRESS), str(fault), expected="the first host's IP address")
                )
            return {}

    def _add_host(self, where: FieldPath, host: str, inherited: "Given", own: Mapping[str, Any]) -> None:
        self.hosts.setdefault(host, {}).update(own)
        known = self.of_groups.setdefault(host, {})
        for name, (group, value) in inherited.items():
            before = known.get(name)
            if before is None or _is_below(group, before[0]):
                known[name] = (group, value)
            elif before[1] != value and not _is_below(before[0], group):
                self.disputed.setdefault((host, name), (before[0], group))
        if own or host not in self.fields:
            self.fields[host] = where

    def settle(self) -> None:
        """Gives each host what its groups say. Of two groups of which none is in the other Ansible takes the one whose
        name is later in the alphabet: a value that hangs on that is a trap, and is refused."""
        for (host, name), (one, other) in self.disputed.items():
            if name not in self.hosts[host]:
                self.problems.append(
                    self.document.problem(
                        (*other, "vars", name), f"the groups {one[-1]!r} and {other[-1]!r} give {host!r} two values",
                        expected="one value", hint=f"say {name} at the host itself",
                    )
                )  # fmt: skip
        for host, own in self.hosts.items():
            given = {name: value for name, (_, value) in self.of_groups[host].items()}
            self.hosts[host] = {**given, **own}

    def _mapping(self, where: FieldPath, group: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = group.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problems.append(self.document.problem((*where, key), "not a mapping", expected="name: {...}"))
            return {}
        return value

    def faults(self, name: str) -> Iterator[UsageProblem]:
        """What makes a host unreachable by its variables."""
        variables = self.hosts[name]
        address = variables.get("ansible_host")
        if address is None or address == "":
            yield self._fault(name, "ansible_host", f"the host {name!r} has no address", "ansible_host: an IP address")
        elif not _is_address(address):
            yield self._fault(name, "ansible_host", f"no address: {address!r}", "an IP address: firewalls need numbers")
        port = variables.get("ansible_port", 22)
        if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
            yield self._fault(name, "ansible_port", f"no port: {port!r}", "a number from 1 to 65535")
        connection = variables.get("ansible_connection", "ssh")
        if connection != "ssh":
            yield self._fault(
                name, "ansible_connection", f"hosts are reached by ssh alone, not by {connection!r}", "ssh"
            )
        of_users = login_faults(variables.get(USERS, []), str(variables.get("ansible_user", "root")))
        yield from (self._fault(name, USERS, *fault) for fault in of_users)
        yield from (self._fault(name, STORAGE, *fault) for fault in storage_faults(variables.get(STORAGE, [])))
        for variable in RESOURCES.keys() & variables.keys():
            if not _is_amount(variables[variable]):
                yield self._fault(name, variable, f"no amount: {variables[variable]!r}", RESOURCES[variable])

    def _fault(self, name: str, variable: str, what: str, expected: str) -> UsageProblem:
        known = Inventory(self.document.path, {}, document=self.document, fields=self.fields)
        return UsageProblem(what, where=known.where_of_host(name, variable), expected=expected)

    def host(self, name: str) -> Host:
        variables = self.hosts[name]
        return Host(
            name=name,
            address=str(variables["ansible_host"]),
            groups=tuple(dict.fromkeys(g for g in self.groups[name] if g != "all")),
            user=str(variables.get("ansible_user", "root")),
            port=variables.get("ansible_port", 22),
            private_key=_path(variables, "ansible_ssh_private_key_file", self.document.path.parent),
            known_hosts=_path(variables, "cloudexit_known_hosts", self.document.path.parent),
        )


def _is_address(value: object) -> bool:
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return False
    return True


def _is_amount(value: object) -> bool:
    try:
        parsed = parse_size(value)
    except ValueError:
        return False
    return isinstance(parsed, int | float) and not isinstance(parsed, bool) and 0 <= parsed <= MOST_BYTES


def _path(variables: Mapping[str, Any], key: str, folder: Path) -> Path | None:
    value = variables.get(key)
    return folder / Path(str(value)).expanduser() if value else None


def addresses(stack: Stack, inventory: Inventory) -> dict[str, str]:
    """Group -> address of its first host: what `{group}` stands for in the manifest."""
    return dict(_addresses(stack, inventory))


def _addresses(stack: Stack, inventory: Inventory) -> Iterator[tuple[str, str]]:
    for group in stack.groups():
        if inventory.group(group):
            yield group, inventory.address(group)
