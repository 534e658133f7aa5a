"""The lab's hosts as an Ansible inventory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml


def inventory_text(
    hosts: Sequence[tuple[str, str, Sequence[str]]],
    private_key: Path,
    known_hosts: Path,
    extra_groups: Mapping[str, Sequence[str]],
) -> str:
    """YAML for hosts given as (name, address, groups); `extra_groups` adds groups by name -> host names."""
    members: dict[str, list[str]] = {}
    for name, _, groups in hosts:
        for group in groups:
            members.setdefault(group, []).append(name)
    for group, names in extra_groups.items():
        members.setdefault(group, []).extend(name for name in names if name not in members.get(group, []))
    document: dict[str, Any] = {
        "all": {
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(private_key),
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_common_args": (
                    f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
                ),
                "cloudexit_known_hosts": str(known_hosts),
            },
            "hosts": {name: {"ansible_host": address} for name, address, _ in hosts},
            "children": {group: {"hosts": dict.fromkeys(names)} for group, names in sorted(members.items())},
        }
    }
    return "# Written by the lab; made anew with every `lab up`.\n" + yaml.safe_dump(document, sort_keys=False)
