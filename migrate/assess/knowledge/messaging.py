"""What speaks to users and between services."""

from migrate.assess.findings import Hold
from migrate.assess.knowledge.rule import AWS, Rule

MESSAGING = (
    Rule(
        "sqs", "queue", Hold.REPLACEABLE,
        why="the API is the provider's, and a waiting message leaves only by being received",
        instead="a Redis list or stream, RabbitMQ, or a table in PostgreSQL",
        lead_hours=24, first="drain it at the fence: what waits there at the end is lost",
        source=f"{AWS}/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-basic-architecture.html",
    ),
    Rule(
        "sns", "topic", Hold.REPLACEABLE,
        why="the API is the provider's; subscribers must be told of another sender",
        instead="a message broker on own hosts, or calls from the app",
        lead_hours=24, first="list the subscriptions: each endpoint outside the account needs a new source",
        source=f"{AWS}/sns/latest/dg/welcome.html",
    ),
    Rule(
        "sns", "push-application", Hold.REPLACEABLE,
        why="device tokens belong to Apple's and Google's services and leave; the ARNs that the code stores do not",
        instead="APNs and FCM asked directly, with keys from their consoles",
        lead_hours=24, first="export every endpoint's token; look who holds the keys of APNs and FCM",
        source=f"{AWS}/sns/latest/api/API_ListEndpointsByPlatformApplication.html",
    ),
    Rule(
        "sns", "sms", Hold.CAPTIVE,
        why="sender numbers and their registrations stay; a new registration takes days to weeks",
        instead="a second SMS vendor with its own registration, or codes by app or e-mail",
        lead_hours=168, first="apply at a second vendor now; offer an authenticator app to members meanwhile",
        source=f"{AWS}/sms-voice/latest/userguide/registrations.html",
    ),
    Rule(
        "ses", "identity", Hold.REPLACEABLE,
        why="sending leaves by SMTP to anyone; the reputation of the addresses does not",
        instead="Postfix on own hosts with own DKIM keys, or another mail vendor; new addresses warm up over weeks",
        lead_hours=24, first="publish DKIM keys of the second sender beside the old ones while DNS is yours",
        source=f"{AWS}/ses/latest/dg/send-email-authentication-dkim.html",
    ),
    Rule(
        "ses", "suppression-list", Hold.PORTABLE,
        why="addresses that bounced or complained can be read out; a sender without the list is soon blocked",
        instead="the same list at the new sender",
        lead_hours=1, first="aws sesv2 list-suppressed-destinations, to the end",
        source=f"{AWS}/ses/latest/dg/sending-email-suppression-list.html",
    ),
    Rule(
        "cognito-identity", "identity-pool", Hold.REPLACEABLE,
        why="it gives apps credentials of the provider; without the provider there is nothing to give them for",
        instead="tokens of the own sign-in, checked by the own API; uploads through it instead of straight to S3",
        lead_hours=48, first="find every app version that signs in through it: an installed app cannot be mended",
        source=f"{AWS}/cognito/latest/developerguide/cognito-identity.html",
    ),
    Rule(
        "cognito-idp", "user-pool", Hold.CAPTIVE,
        why="password hashes and second factors cannot be read out; names, addresses and groups can",
        instead="own sign-in with a new password by mail, or a check against Cognito at each sign-in while it lives",
        lead_hours=48, first="export users and attributes; capture passwords at sign-in while the pool answers",
        source=f"{AWS}/cognito/latest/developerguide/cognito-user-pools-using-import-tool.html",
    ),
)  # fmt: skip
"""Queues, topics, mail, SMS, push, and sign-in."""
