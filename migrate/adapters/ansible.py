"""Playbooks, by ansible-runner as a library. Each run has a folder of its own, and leaves no secret in it."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ansible_mitogen
import ansible_runner
from ansible_runner.config.runner import RunnerConfig

from migrate.adapters.ansibleevents import EventFold, plain_text, redacted
from migrate.adapters.ansiblefolder import RunFolder
from migrate.errors import GateHeld, Interrupted, Unreachable
from migrate.inventory import Inventory
from migrate.ports import PlayResult
from migrate.secret import Secrets

FORKS = 20
CONNECT_SECONDS = 10
POLL_SECONDS = 0.5
LAST_WORDS_BYTES = 4000
STRATEGY = "mitogen_free"
"""Hosts do not wait for each other, and each keeps one Python for the whole run: docs/adr/0085."""
STRATEGIES = Path(ansible_mitogen.__file__).parent / "plugins" / "strategy"
SILENCE_SECONDS = 15
SILENCES = 4
"""A host that has said nothing for as many times as long is lost."""
FIXED = {
    "ansible_host_key_checking": True,
    "ansible_ssh_host_key_checking": True,
    "mitogen_task_isolation": "fork",
    "mitogen_ssh_keepalive_interval": SILENCE_SECONDS,
    "mitogen_ssh_keepalive_count": SILENCES,
}
"""What no inventory may set otherwise."""
INHERITED = ("HOME", "USER", "LOGNAME", "TZ", "SSH_AUTH_SOCK")


class AnsiblePlaybooks:
    """Implements ports.Playbooks. Works from any thread; touches neither signals nor this process's environment."""

    def __init__(self, folder: Path) -> None:
        """`folder`: where runs are kept, under the state folder; made (0700) when missing."""
        self._folder = folder

    def run(
        self,
        playbook: Path,
        inventory: Inventory,
        *,
        variables: Mapping[str, Any],
        secrets: Secrets,
        limit: Sequence[str] = (),
        check: bool = False,
        cancelled: Callable[[], bool] = lambda: False,
        on_task: Callable[[str], None] = lambda task: None,
        timeout: float = 1800.0,
    ) -> PlayResult:
        """See ports.Playbooks; also raises Unreachable when the bound `timeout` (seconds) is overrun. Retriable."""
        expected = list(limit or inventory.hosts)
        fold = EventFold(expected, secrets, on_task)
        began = time.monotonic()
        with RunFolder.make(self._folder, playbook.stem) as folder:
            folder.write_variables({**variables, **_secret_variables(secrets), **FIXED})
            folder.write_settings({"pexpect_timeout": POLL_SECONDS, "job_timeout": int(timeout)})
            overlay = folder.write_addresses(inventory)
            runner = ansible_runner.interface.init_runner(
                private_data_dir=str(folder.path),
                playbook=str(playbook.resolve()),
                inventory=[str(inventory.path.resolve()), str(overlay)],
                limit=",".join(expected),
                forks=FORKS,
                cmdline="--check" if check else None,
                ident="run",
                quiet=True,
                event_handler=fold.take,
                cancel_callback=cancelled,
            )
            _scrub(runner.config, _environment(folder, inventory))
            _die_with_us(runner.config)
            status, _ = runner.run()
            words = _last_words(folder, secrets)
        result = fold.result(playbook.stem, time.monotonic() - began)
        _raise_unless_ended(status, fold, result, words, timeout)
        return result


def _raise_unless_ended(status: str, fold: EventFold, result: PlayResult, words: str, timeout: float) -> None:
    if status == "canceled":
        raise Interrupted(
            f"the playbook {result.playbook} was stopped",
            hint="a task may still end on a host; the same command looks again and goes on from there",
        )
    if status == "timeout":
        raise Unreachable(
            f"the playbook {result.playbook} had not ended after {timeout:.0f} s, at: {fold.last_task or 'its start'}",
            where=", ".join(result.hosts),
            hint="see why that task takes so long on the host, then run the same command again",
        )
    if not fold.ended:
        raise GateHeld(
            f"Ansible did not run the playbook {result.playbook}: {words}",
            expected="a playbook and an inventory that Ansible can read",
            hint="mend what it names",
        )
    if all(play.unreachable for play in result.hosts.values()):
        raise Unreachable(
            "no host answered: " + "; ".join(f"{p.host}: {p.failure}" for p in result.hosts.values()),
            where=", ".join(result.hosts),
            hint="see that SSH to the hosts works: cloudexit lab ssh HOST, or ssh by hand",
        )


def _secret_variables(secrets: Secrets) -> dict[str, Any]:
    """Marked as unsafe, so that braces in a password are never taken for a template."""
    return {
        f"secret_{name.replace('-', '_')}": {"__ansible_unsafe": secret.reveal()} for name, secret in secrets.items()
    }


def _environment(folder: RunFolder, inventory: Inventory) -> dict[str, str]:
    binaries = Path(sys.executable).parent
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {
        **kept,
        "PATH": f"{binaries}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder.sockets),
        "ANSIBLE_CONFIG": str(folder.write_empty_configuration()),
        "ANSIBLE_HOME": str(folder.private / "home"),
        "ANSIBLE_LOCAL_TEMP": str(folder.private / "tmp"),
        "ANSIBLE_REMOTE_TMP": "~/.ansible/tmp",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_STRATEGY": STRATEGY,
        "ANSIBLE_STRATEGY_PLUGINS": str(STRATEGIES),
        "ANSIBLE_SSH_ARGS": " ".join(_ssh_options(folder, inventory)),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder.sockets),
        "ANSIBLE_SSH_CONTROL_PATH": "%(directory)s/%%C",
        "ANSIBLE_SSH_RETRIES": "1",
        "ANSIBLE_TIMEOUT": str(CONNECT_SECONDS),
        "ANSIBLE_GATHERING": "smart",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
    }


def _ssh_options(folder: RunFolder, inventory: Inventory) -> list[str]:
    hosts = inventory.hosts.values()
    options = {
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f"'\"{folder.write_known_hosts(inventory)}\"'",
        "GlobalKnownHostsFile": "/dev/null",
        "BatchMode": "yes",
        "ConnectionAttempts": "2",
        "ControlMaster": "auto",
        "ControlPersist": "60s",
        "ServerAliveInterval": str(SILENCE_SECONDS),
        "ServerAliveCountMax": str(SILENCES),
    }
    if all(host.private_key for host in hosts):
        options["IdentitiesOnly"] = "yes"
    return ["-F", "none", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]


def _scrub(config: RunnerConfig, environment: Mapping[str, str]) -> None:
    """Takes the operator's environment, cloud keys included, away from the child and from artifacts/run/command."""
    own = {name: value for name, value in config.env.items() if os.environ.get(name) != value}
    config.env = {**own, **environment}


def _die_with_us(config: RunnerConfig) -> None:
    """ansible-playbook ends when this process is killed, so that the next run never works beside an orphan."""
    setpriv = shutil.which("setpriv")
    if setpriv:
        config.command = [setpriv, "--pdeathsig", "KILL", *config.command]


def _last_words(folder: RunFolder, secrets: Secrets) -> str:
    """The end of what Ansible said. The file that keeps it is redacted too."""
    output = folder.path / "artifacts" / "run" / "stdout"
    if not output.exists():
        return ""
    text = redacted(secrets, plain_text(output.read_text(encoding="utf-8", errors="replace")))
    output.write_text(text, encoding="utf-8")
    return text[-LAST_WORDS_BYTES:].strip()
