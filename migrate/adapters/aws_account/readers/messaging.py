"""SQS, SNS, SES."""

from collections.abc import Iterator

from migrate.adapters.aws_account.answers import NotSeen
from migrate.adapters.aws_account.reader import Look, Reader
from migrate.assess.observed import Resource

COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
DEFAULT_SPEND = 1.0
"""Monthly limit for SMS, in dollars, of an account that never asked for more."""
SUPPRESSED_PAGE = 1000


def _sqs(look: Look) -> Iterator[Resource]:
    for url in look.pages("sqs.list_queues", "QueueUrls", MaxResults=1000):
        sheet = look.sheet("queue", url.rpartition("/")[2])
        wanted = [*COUNTS, "MessageRetentionPeriod"]
        if answer := sheet.ask("messages", "sqs.get_queue_attributes", QueueUrl=url, AttributeNames=wanted):
            attributes = answer.get("Attributes", {})
            sheet.facts["messages"] = sum(int(attributes.get(name, 0)) for name in COUNTS)
            sheet.facts["kept_hours"] = int(attributes.get("MessageRetentionPeriod", 0)) // 3600
        yield sheet.resource()


SQS = Reader(
    "sqs",
    {"sqs.list_queues": "sqs:ListQueues", "sqs.get_queue_attributes": "sqs:GetQueueAttributes"},
    _sqs,
)


def _sns(look: Look) -> Iterator[Resource]:
    for found in look.pages("sns.list_topics", "Topics"):
        sheet = look.sheet("topic", found["TopicArn"].rpartition(":")[2])
        if answer := sheet.ask("subscriptions", "sns.get_topic_attributes", TopicArn=found["TopicArn"]):
            sheet.facts["subscriptions"] = int(answer["Attributes"].get("SubscriptionsConfirmed", 0))
        yield sheet.resource()
    for found in look.pages("sns.list_platform_applications", "PlatformApplications"):
        yield look.sheet("push-application", found["PlatformApplicationArn"].partition(":app/")[2]).resource()
    try:
        attributes = look.ask("sns.get_sms_attributes")["attributes"]
    except NotSeen as blind:
        look.note(blind)
        return
    if attributes.get("DefaultSenderID") or float(attributes.get("MonthlySpendLimit") or 0) > DEFAULT_SPEND:
        yield look.sheet("sms", f"sender-{look.region}", sender=attributes.get("DefaultSenderID", "")).resource()


SNS = Reader(
    "sns",
    {
        "sns.list_topics": "sns:ListTopics",
        "sns.get_topic_attributes": "sns:GetTopicAttributes",
        "sns.list_platform_applications": "sns:ListPlatformApplications",
        "sns.get_sms_attributes": "sns:GetSMSAttributes",
    },
    _sns,
)


def _ses(look: Look) -> Iterator[Resource]:
    identities = list(look.pages("ses.list_email_identities", "EmailIdentities"))
    for found in identities:
        yield look.sheet(
            "identity", found["IdentityName"], type=found.get("IdentityType"),
            sends=bool(found.get("SendingEnabled")),
        ).resource()  # fmt: skip
    if not identities:
        return
    sheet = look.sheet("suppression-list", f"suppressed-{look.region}")
    if answer := sheet.ask("addresses", "ses.list_suppressed_destinations", PageSize=SUPPRESSED_PAGE):
        sheet.facts["addresses"] = len(answer["SuppressedDestinationSummaries"])
        sheet.facts["more"] = bool(answer.get("NextToken"))
    if answer := sheet.ask("production_access", "ses.get_account"):
        sheet.facts["production_access"] = bool(answer.get("ProductionAccessEnabled"))
    yield sheet.resource()


SES = Reader(
    "ses",
    {
        "ses.list_email_identities": "ses:ListEmailIdentities",
        "ses.list_suppressed_destinations": "ses:ListSuppressedDestinations",
        "ses.get_account": "ses:GetAccount",
    },
    _ses,
)
