"""Where the app goes: hosts, groups and addresses, read from an Ansible inventory in YAML."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migrate.documents import Document, FieldPath, read_yaml
from migrate.errors import DocumentProblems, UsageProblem
from migrate.plan import digest_of
from migrate.stack import Stack

GROUP_KEYS = {"hosts", "children", "vars"}


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

    def group(self, name: str) -> list[Host]:
        """Hosts of a group, in the inventory's order."""
        return [host for host in self.hosts.values() if name in host.groups]

    def address(self, group: str) -> str:
        """Address of a group's first host."""
        return self.group(group)[0].address

    @property
    def digest(self) -> str:
        return digest_of(
            {h.name: [h.address, sorted(h.groups), h.user, h.port] for h in self.hosts.values()},
        )


def read_inventory(path: Path) -> Inventory:
    """Reads a static YAML inventory (a file, or hosts.yml in a folder); raises UsageProblem with file and line."""
    if path.is_dir():
        path = path / "hosts.yml"
    document = read_yaml(path)
    content = document.content
    if not isinstance(content, dict) or not isinstance(content.get("all"), dict):
        raise document.problem((), "no group `all`", expected="an Ansible inventory in YAML: all: {hosts, children}")
    reader = _Reader(document)
    reader.read_group(("all",), content["all"], (), {})
    if reader.problems:
        raise DocumentProblems(reader.problems)
    if not reader.hosts:
        raise document.problem(("all",), "no hosts", expected="at least one host with ansible_host")
    return Inventory(path, {name: reader.host(name) for name in reader.hosts}, content["all"].get("vars") or {})


def hold_against(stack: Stack, inventory: Inventory) -> None:
    """Raises UsageProblem where a group that the stack needs has no host, or a host is in no such group."""
    needed = stack.groups()
    for group in needed:
        if not inventory.group(group):
            raise UsageProblem(
                f"the group {group!r} has no host",
                where=str(inventory.path),
                expected=f"at least one host in each of: {', '.join(needed)}",
                hint=f"add a host under children.{group}.hosts",
            )
    for host in inventory.hosts.values():
        if not set(host.groups) & set(needed):
            raise UsageProblem(
                f"the host {host.name!r} is in no group of the stack",
                where=str(inventory.path),
                expected=f"one of: {', '.join(needed)}",
                hint="add it to a group, or take it out",
            )


class _Reader:
    """Collects hosts, their groups and their variables while it walks the groups."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.hosts: dict[str, dict[str, Any]] = {}
        self.fields: dict[str, FieldPath] = {}
        self.groups: dict[str, list[str]] = {}
        self.problems: list[UsageProblem] = []

    def read_group(
        self, where: FieldPath, group: object, parents: tuple[str, ...], inherited: Mapping[str, Any]
    ) -> None:
        if group is None:
            return
        if not isinstance(group, dict):
            self.problems.append(self.document.problem(where, "not a group", expected="hosts, children, vars"))
            return
        for key in set(group) - GROUP_KEYS:
            self.problems.append(
                self.document.problem((*where, key), "unknown key", expected="hosts, children or vars")
            )
        variables = {**inherited, **self._mapping(where, group, "vars")}
        names = (*parents, str(where[-1]))
        for name, own in self._mapping(where, group, "hosts").items():
            field_path = (*where, "hosts", name)
            if own is not None and not isinstance(own, dict):
                self.problems.append(self.document.problem(field_path, "not a host", expected="its variables"))
                continue
            known = self.hosts.setdefault(str(name), {})
            known.update({**variables, **known, **(own or {})})
            if own or str(name) not in self.fields:
                self.fields[str(name)] = field_path
            self.groups.setdefault(str(name), []).extend(names)
        for name, child in self._mapping(where, group, "children").items():
            self.read_group((*where, "children", name), child, names, variables)

    def _mapping(self, where: FieldPath, group: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = group.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problems.append(self.document.problem((*where, key), "not a mapping", expected="name: {...}"))
            return {}
        return value

    def host(self, name: str) -> Host:
        variables = self.hosts[name]
        port = variables.get("ansible_port", 22)
        if not isinstance(port, int):
            raise self.document.problem((*self.fields[name], "ansible_port"), "no port", expected="a number")
        return Host(
            name=name,
            address=str(variables.get("ansible_host", name)),
            groups=tuple(dict.fromkeys(g for g in self.groups[name] if g != "all")),
            user=str(variables.get("ansible_user", "root")),
            port=port,
            private_key=_path(variables, "ansible_ssh_private_key_file", self.document.path.parent),
            known_hosts=_path(variables, "cloudexit_known_hosts", self.document.path.parent),
        )


def _path(variables: Mapping[str, Any], key: str, folder: Path) -> Path | None:
    value = variables.get(key)
    return folder / Path(str(value)).expanduser() if value else None


def addresses(stack: Stack, inventory: Inventory) -> dict[str, str]:
    """Group -> address of its first host: what `{group}` stands for in the manifest."""
    return dict(_addresses(stack, inventory))


def _addresses(stack: Stack, inventory: Inventory) -> Iterator[tuple[str, str]]:
    for group in stack.groups():
        yield group, inventory.address(group)
