"""What each kind of step leaves open until it runs, and how it is taken back."""

from collections.abc import Mapping

from migrate.forecast.result import PointOfNoReturn
from migrate.plan import Effect, Plan, Step

UNKNOWABLE: Mapping[str, str] = {
    "preflight.hosts": "whether each host answers, and is what it should be",
    "preflight.source": "whether each bucket answers, and lets us read",
    "export.bucket": "objects that change, vanish or cannot be verified meanwhile; when the source asks to slow down",
    "provision.hosts": "which tasks change something; --predict asks Ansible for a prediction",
    "restore.release": "whether the release installs on these hosts",
    "restore.dump": "whether the newest dump is whole, and of a server that fits",
    "restore.database": "whether the dump loads; how long its indexes take",
    "restore.rewrite": "how many values hold an old address",
    "restore.proof": "whether counts, indexes, sequences and keys hold",
    "restore.cache": "whether the snapshot loads",
    "restore.media": "how much of the tree is there already",
    "restore.backup": "whether the repository takes it",
    "start.service": "whether it becomes healthy, and how soon",
    "start.drained": "how long the queues are",
    "cutover.lag": "what the old home wrote after the dump; it can be asked only while it lives",
    "prove.checks": "the verdicts",
    "prove.journey": "the verdicts",
    "prove.drift": "whether a second provisioning finds something to change",
    "prove.objects": "whether every object is verified",
}

TAKEN_BACK: Mapping[str, str] = {
    "export.bucket": "delete the archive's folder; the bucket was only read",
    "provision.hosts": "install the hosts anew; there is no undo",
    "restore.release": "the release before it stays beside it",
    "restore.dump": "delete the copy of the dump",
    "restore.database": "the database that it replaced is set aside under another name, and stays",
    "restore.rewrite": "load the dump again",
    "restore.cache": "load the snapshot again, or begin empty",
    "restore.media": "delete the tree; the archive keeps every object",
    "restore.backup": "delete the backup; nothing else rests on it",
    "start.service": "stop the unit",
    "lab.hosts": "cloudexit lab down",
    "lab.old-home": "cloudexit lab down",
    "lab.dump": "cloudexit lab down",
}


def unknowable(step: Step) -> str:
    return UNKNOWABLE.get(step.kind, "")


def rollback(step: Step) -> str:
    if step.effect is Effect.READ:
        return "nothing to take back: it only reads"
    if step.effect is Effect.IRREVERSIBLE:
        return "none"
    return TAKEN_BACK.get(step.kind, "repeat it, or leave it: nothing else rests on it")


BEFORE = "the old home still serves and was only read: stop the run, and nothing is lost; the new home can wait or go"
AFTER = "what users wrote at the new home is nowhere else: back means losing it, or bringing it over by hand"


def point_of_no_return(plan: Plan) -> PointOfNoReturn:
    """The first irreversible step; where there is none, the moment at which users are let in."""
    step = next((step for step in plan.steps if step.effect is Effect.IRREVERSIBLE), None)
    if step:
        return PointOfNoReturn(step=step.id, what=step.title, before=BEFORE, after=AFTER)
    return PointOfNoReturn(
        step="",
        what="no step of this plan: it is the first write of a user at the new home, once the site's name points there,"
        " or the end of the old home, whichever is first",
        before=BEFORE,
        after=AFTER,
    )
