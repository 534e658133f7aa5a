"""The page of an assessment: readable on a narrow terminal, and obeyed by none."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from migrate.assess.assessing import Question, assess
from migrate.assess.findings import Leak, LeakKind
from migrate.assess.observed import Blindness, Observed, Resource, Unseen
from migrate.manifest import read_stack
from migrate.report.assessment import show_assessment
from migrate.report.lines import visible
from migrate.stack import Vendor
from tests.drill import PLAZA

AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
ODD_NAMES = ("\x1b[2J\x1b[31mevil", "a\nb\rc", "[red]x[/red]", "[/]", "\u202etxt.exe", "trailing\\", "ünï 💥", "\udcff")
KINDS = ("kms/key", "sqs/queue", "s3/bucket", "ssm/parameter", "sns/sms", "route53domains/domain")


def resource(what: str, name: str, **facts: Any) -> Resource:
    service, kind = what.split("/")
    return Resource(service=service, kind=kind, region="us-east-1", name=name, facts=facts)


def page(width: int, observed: Observed, *, leaks: tuple[Leak, ...] = (), verbose: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None)
    show_assessment(console, assess(observed, Question(), AT, leaks=leaks), verbose=verbose)
    return stream.getvalue()


def account(*resources: Resource, unseen: tuple[Unseen, ...] = ()) -> Observed:
    return Observed(account="1", caller="ops", regions=("us-east-1",), resources=resources, unseen=unseen)


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("width", [60, 80, 132])
def test_no_name_is_obeyed_by_the_terminal(width: int, verbose: bool) -> None:
    unseen = tuple(
        Unseen(service="kms", region=name, action="kms:ListKeys", reason=Blindness.NOT_ALLOWED, said=name, about=name)
        for name in ODD_NAMES
    )
    resources = [resource(kind, name, called=name) for kind in KINDS for name in ODD_NAMES]
    leaks = tuple(
        Leak(kind=LeakKind.POSITION, where=name, found=1, looked_at=1, detail=name, first="x") for name in ODD_NAMES
    )
    text = page(width, account(*resources, unseen=unseen), leaks=leaks, verbose=verbose)
    assert not [character for character in text if character in "\x1b\r\u202e\udcff"]
    assert "[red]x[/red]" in text
    assert text.encode()


@pytest.mark.parametrize("width", [60, 80])
def test_every_line_fits_a_narrow_terminal_but_those_to_be_copied(width: int) -> None:
    resources = [resource(kind, f"a-rather-long-name-of-a-resource-{number}") for kind in KINDS for number in range(9)]
    lines = page(width, account(*resources)).splitlines()
    assert [line for line in lines if cell_len(line) > width and "answer in stack.yaml" not in line] == []
    assert not any(line != line.rstrip() for line in lines)


def test_what_is_denied_a_hundred_times_is_one_line() -> None:
    denied = tuple(
        Unseen(
            service="kms", region="us-east-1", action="kms:DescribeKey", reason=Blindness.NOT_ALLOWED, about=f"key-{n}",
            said=f"not authorized to perform kms:DescribeKey on key-{n}",
        )
        for n in range(100)
    )  # fmt: skip
    lines = [line for line in page(132, account(unseen=denied)).splitlines() if "kms:DescribeKey" in line]
    assert len(lines) == 1
    assert "and 97 more" in lines[0]


def test_buckets_of_unknown_size_stand_beside_the_sum() -> None:
    unknown = resource("s3/bucket", "b").model_copy(update={"unseen": ("bytes", "objects")})
    text = page(132, account(resource("s3/bucket", "a", bytes=5, objects=1), unknown))
    assert "2 buckets, 1 objects, 5 B, by their metrics; of 1 of them the size is not known" in text


def test_a_key_to_be_copied_fits_its_own_resource() -> None:
    from migrate.assess.judging import judge

    found = resource("kms/key", "alias/[x]")
    (line,) = [line for line in page(60, account(found)).splitlines() if "answer in stack.yaml" in line]
    key = line.partition('{"')[2].partition('"')[0]
    assert judge([found], {key: "decrypted and encrypted anew"}, {})[0].answer


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x1bb", "a\\x1bb"), ("ünï", "ünï"), ("👩‍💻", "👩‍💻"), ("a\u2028b", "a\\u2028b"), ("\x9b", "\\x9b")],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_vendor_of_the_account_that_holds_nothing_there_is_told() -> None:
    plaza = read_stack(PLAZA)
    vendors = {
        "mail": Vendor(does="email", provider="ses"), "codes": Vendor(does="sms", provider="sns"),
        "money": Vendor(does="payments", provider="stripe"),
    }  # fmt: skip
    stack = plaza.model_copy(update={"vendors": vendors})
    found = assess(account(resource("ses/identity", "myapp.example")), Question(stack=stack), AT)
    stream = io.StringIO()
    show_assessment(Console(file=stream, width=132), found)
    text = stream.getvalue()
    assert "mail  email by ses, 1 in this account" in text
    assert "codes  sms by sns, none seen in this account" in text
    assert "money  payments by stripe\n" in text


def test_thirty_silent_regions_do_not_fill_the_page() -> None:
    unseen = tuple(
        Unseen(service="kms", region=f"region-{n:02}", action="kms:ListKeys", reason=Blindness.NO_ANSWER)
        for n in range(30)
    )
    assert "no answer from region-00, region-01, region-02, region-03, region-04, region-05 and 24 more" in page(
        200, account(unseen=unseen)
    )
