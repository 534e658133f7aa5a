"""`plan --probe` and `--predict`: what can be measured from here, and what Ansible foretells. Changes nothing."""

import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from migrate.adapters.ansible import AnsiblePlaybooks
from migrate.adapters.s3 import Access
from migrate.adapters.ssh import SshHosts
from migrate.cli.buckets import Buckets
from migrate.cli.output import Output
from migrate.errors import CloudexitError, OutsideProblem
from migrate.facts import Facts
from migrate.figures import Ground, sized
from migrate.forecast.history import History, SeenHost
from migrate.forecast.result import Prediction
from migrate.inventory import Inventory
from migrate.probing.buckets import ProbedBucket, artifacts_of, probe_bucket, probe_usd
from migrate.probing.machines import DISK_BYTES, LINK_BYTES, hosts_to_probe, probe_disk, probe_host, probe_line
from migrate.secret import Secrets, load_or_generate
from migrate.stack import Stack
from migrate.target.ownsecrets import OWN_SECRETS
from migrate.target.playbooks import playbooks_folder
from migrate.target.provision import mark_of, told_to_playbook

AT_ONCE = 16
PREDICT_SECONDS = 600.0
WEAK = (Ground.STATED, Ground.ASSUMED)
Found = TypeVar("Found")


@dataclass(frozen=True)
class Probed:
    """Facts and history with what was measured put in where the file of facts did not say it better."""

    facts: Facts
    history: History
    problems: tuple[OutsideProblem, ...] = field(default=())


def probe(stack: Stack, inventory: Inventory, facts: Facts, history: History, folder: Path, output: Output) -> Probed:
    """Says first what it costs. Raises the first bucket's problem where not a single bucket answers."""
    hosts = hosts_to_probe(inventory)
    output.say(
        f"probe: {len(stack.buckets)} buckets, a few pages and a sample of each, at most"
        f" ${probe_usd(len(stack.buckets)):.2f} at list prices; at most {sized(DISK_BYTES)} written here"
        f" and removed; {len(hosts)} hosts asked by SSH, {sized(LINK_BYTES)} sent to one of them"
    )
    scratch = next(parent for parent in (folder, *folder.parents) if parent.exists())
    buckets, problems = _buckets(stack, scratch, output)
    if problems and not buckets:
        raise problems[0]
    with SshHosts() as ssh:
        seen, silent = _each({h.name: lambda h=h: probe_host(ssh, stack, h) for h in hosts})  # type: ignore[misc]
        answering = [host for host in hosts if host.name in seen]
        line = probe_line(ssh, answering[0]) if answering else None
    for name, problem in silent.items():
        output.say(f"  {name}: not measured: {problem.what}")
    databases, caches = artifacts_of(stack, buckets)
    measured = Facts(
        buckets={
            name: found.facts.model_copy(update={"fetch": found.fetch})
            for name, found in buckets.items()
            if found.facts
        },
        databases=databases, caches=caches, disk_write=probe_disk(scratch), inside=line,
    )  # fmt: skip
    paces = [found.listing for found in buckets.values() if found.listing]
    if paces:
        measured = measured.model_copy(update={"listing": min(paces, key=lambda pace: pace.per_second)})
    merged = _merged(facts, measured, buckets)
    known: dict[str, SeenHost] = {**history.hosts, **seen}
    return Probed(merged, replace(history, hosts=known), tuple(problems))


def _buckets(stack: Stack, scratch: Path, output: Output) -> tuple[dict[str, ProbedBucket], list[OutsideProblem]]:
    """One after the other: each has the whole line."""
    endpoint = None if os.environ.get("AWS_ENDPOINT_URL") else stack.source.endpoint_url
    region = None if os.environ.get("AWS_REGION") else stack.source.region
    account = Buckets(Access(endpoint_url=endpoint, region=region))
    found: dict[str, ProbedBucket] = {}
    problems = []
    for name, bucket in stack.buckets.items():
        try:
            found[name] = probe_bucket(account.source(name), bucket.prefix, scratch, account.lanes(name))
        except OutsideProblem as problem:
            problems.append(problem)
            output.say(f"  {name}: not measured: {problem.what}")
            continue
        fetch = found[name].fetch
        output.say(f"  {name}: {fetch.source if fetch else 'nothing that could be fetched'}")
    return found, problems


def _each(asked: dict[str, Callable[[], Found]]) -> tuple[dict[str, Found], dict[str, CloudexitError]]:
    found: dict[str, Found] = {}
    problems: dict[str, CloudexitError] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, answer in {name: pool.submit(ask) for name, ask in asked.items()}.items():
            try:
                found[name] = answer.result()
            except CloudexitError as problem:
                problems[name] = problem
    return found, problems


def _merged(said: Facts, measured: Facts, probed: dict[str, ProbedBucket]) -> Facts:
    """What the file says stands, unless it was only stated or assumed."""
    buckets = {**measured.buckets, **said.buckets}
    for name, found in probed.items():
        if name in buckets and found.fetch:
            buckets[name] = buckets[name].model_copy(update={"fetch": found.fetch})
    rates = {
        name: getattr(measured, name)
        for name in ("disk_write", "inside", "listing")
        if getattr(said, name) is None or getattr(said, name).ground in WEAK
    }
    return said.model_copy(update={
        "buckets": buckets, "databases": {**measured.databases, **said.databases},
        "caches": {**measured.caches, **said.caches},
        **{name: rate for name, rate in rates.items() if rate is not None},
    })  # fmt: skip


def predict(stack: Stack, inventory: Inventory, secrets_file: Path, output: Output) -> tuple[Prediction, ...]:
    """Runs the provisioning playbook in check mode, with the secrets that are kept; those that are not are made up for
    it, and kept nowhere."""
    output.say("asking Ansible for a prediction (check mode: nothing is changed)")
    with tempfile.TemporaryDirectory(prefix="cloudexit-predict-") as folder:
        copy = Path(folder) / "secrets.json"
        if secrets_file.is_file():
            shutil.copy(secrets_file, copy)
        return _predicted(
            stack, inventory, load_or_generate(copy, stack.secrets, {}, OWN_SECRETS), Path(folder) / "ansible"
        )


def _predicted(stack: Stack, inventory: Inventory, secrets: Secrets, folder: Path) -> tuple[Prediction, ...]:
    told, digest = told_to_playbook(stack, inventory, secrets)
    try:
        result = AnsiblePlaybooks(folder).run(
            playbooks_folder() / "provision.yml", inventory,
            variables={**told.variables, "cloudexit_marker": mark_of(digest, stack, secrets)},
            secrets=told.secrets, limit=list(inventory.hosts), check=True, timeout=PREDICT_SECONDS,
        )  # fmt: skip
    except OutsideProblem as problem:
        return tuple(Prediction(host=name, changes=None, tasks=(), problem=problem.what) for name in inventory.hosts)
    return tuple(
        Prediction(
            host=play.host,
            changes=None if play.unreachable or play.failed else play.changed,
            tasks=play.changed_tasks,
            problem=play.failure,
        )
        for play in result.hosts.values()
    )
