"""What the provider's refusals mean for somebody who only looks."""

import re

import botocore.exceptions as bad
from botocore.parsers import ResponseParserError

from migrate.adapters.s3_errors import BAD_CREDENTIALS, NO_CREDENTIALS, THROTTLED
from migrate.assess.observed import Blindness
from migrate.errors import OutsideProblem, Refused, Unreachable

DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "Forbidden",
        "NotAuthorized",
        "NotAuthorizedException",
        "UnauthorizedOperation",
        "UnauthorizedAccess",
        "AllAccessDisabled",
        "403",
    }
)
NOT_OFFERED = frozenset({"OptInRequired", "SubscriptionRequiredException", "NotSignedUp"})
PUT_OFF = THROTTLED | {
    "LimitExceededException",
    "PriorRequestNotComplete",
    "RateExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "ThrottledException",
    "TooManyRequestsException",
}
"""Too many calls: the same one later may do."""
SILENCE = (bad.HTTPClientError, bad.ConnectionError, bad.IncompleteReadError, bad.ResponseStreamingError)
PROBLEMS = (bad.ClientError, bad.BotoCoreError, ResponseParserError)
"""Everything that the library raises for a call."""
LONGEST_WORDS = 200
USERINFO = re.compile(r"://.*@", re.DOTALL)
"""To the last sign: a password may hold any of them."""
CREDENTIALS_HINT = "set AWS_PROFILE or the credentials of a read-only identity; its policy: cloudexit assess --policy"


class NotSeen(Exception):
    """A question without an answer; `code` is the other side's word for it."""

    def __init__(self, reason: Blindness, said: str, code: str = "", action: str = "") -> None:
        self.said = without_userinfo(said)
        super().__init__(self.said)
        self.reason = reason
        self.code = code
        self.action = action

    @property
    def never_signed_up(self) -> bool:
        """The account does not use the service: there is nothing to see, and nothing is hidden."""
        return self.code in NOT_OFFERED

    def about(self, action: str) -> "NotSeen":
        return NotSeen(self.reason, self.said, self.code, action)


def not_seen(problem: Exception) -> NotSeen:
    """Why a question has no answer."""
    if isinstance(problem, bad.ClientError):
        code, said, status = said_by(problem)
        denied = code in DENIED or code in BAD_CREDENTIALS or status in (401, 403)
        return NotSeen(Blindness.NOT_ALLOWED if denied else Blindness.NOT_UNDERSTOOD, said, code)
    if isinstance(problem, NO_CREDENTIALS):
        return NotSeen(Blindness.NOT_ALLOWED, _short(str(problem)))
    reason = Blindness.NO_ANSWER if isinstance(problem, SILENCE) else Blindness.NOT_UNDERSTOOD
    return NotSeen(reason, _short(str(problem)))


def identity_problem(problem: Exception, where: str) -> OutsideProblem:
    """Why nobody could be asked who we are: then nothing else can be asked either."""
    if isinstance(problem, bad.ClientError):
        return _refused(said_by(problem)[1], where)
    if isinstance(problem, NO_CREDENTIALS):
        return _refused(_short(str(problem)), where)
    return Unreachable(
        f"the provider does not answer: {_short(str(problem))}",
        where=where,
        expected="an answer to sts:GetCallerIdentity",
        hint="check the network, the proxy and AWS_ENDPOINT_URL",
    )


def _refused(said: str, where: str) -> Refused:
    return Refused(
        f"the account cannot be looked at: {said}",
        where=where,
        expected="credentials of an identity that may read the account",
        hint=CREDENTIALS_HINT,
    )


def said_by(problem: bad.ClientError) -> tuple[str, str, int]:
    """Code, words and HTTP status of a refusal."""
    error = problem.response.get("Error", {})
    code = str(error.get("Code", "unknown"))
    status = int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return code, _short(f"{code}, HTTP {status}: {error.get('Message') or 'no message'}"), status


def _short(text: str) -> str:
    line = " ".join(without_userinfo(text).split())
    return line if len(line) <= LONGEST_WORDS else line[: LONGEST_WORDS - 1] + "…"


def without_userinfo(text: str) -> str:
    """A text without the user and the password of an endpoint that it names."""
    return USERINFO.sub("://", text)
