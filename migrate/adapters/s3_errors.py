"""What an S3 store's refusal means: for the whole bucket (the run ends) or for one object (the run goes on)."""

import botocore.exceptions as bad

from migrate.errors import CloudexitError, Missing, OutsideProblem, Refused, Unreachable, UsageProblem
from migrate.export.source import (
    ObjectArchived,
    ObjectChanged,
    ObjectForbidden,
    ObjectMissing,
    ObjectProblem,
    ObjectRejected,
    SlowDown,
    SourceSilent,
    TransferBroken,
)

BAD_CREDENTIALS = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
        "AccountProblem",
        "NotSignedUp",
    }
)
THROTTLED = frozenset(
    {"SlowDown", "503", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}
)
NO_BUCKET = frozenset({"NoSuchBucket"})
NO_OBJECT = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound", "MethodNotAllowed"})
FORBIDDEN = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "KMS.DisabledException"})
ARCHIVED = frozenset({"InvalidObjectState"})
CHANGED = frozenset({"PreconditionFailed", "412"})
CREDENTIALS_HINT = "set AWS_PROFILE, --profile or the credentials, or --no-sign-request for a public bucket"
GO_ON = "the same command goes on from here"


def session_problem(problem: Exception) -> CloudexitError:
    """A profile or endpoint that cannot be used: nothing was asked of anybody."""
    return UsageProblem(
        str(problem),
        where="AWS settings",
        expected="a profile of ~/.aws/config and an endpoint such as https://s3.example.net",
        hint="check --profile, --endpoint-url, AWS_PROFILE and AWS_ENDPOINT_URL",
    )


NO_CREDENTIALS = (
    bad.NoCredentialsError,
    bad.PartialCredentialsError,
    bad.CredentialRetrievalError,
    bad.TokenRetrievalError,
    bad.UnauthorizedSSOTokenError,
    bad.SSOTokenLoadError,
    bad.NoAuthTokenError,
)


def bucket_problem(problem: Exception, where: str) -> CloudexitError:
    """Why a bucket as a whole cannot be listed."""
    if isinstance(problem, bad.ClientError):
        return _answered(problem, where)
    return _credentials_problem(problem, where) or Unreachable(
        f"the endpoint does not answer: {problem}",
        where=where,
        expected="an S3 service there",
        hint=f"check the address, the network and that the service runs; {GO_ON}",
    )


def _credentials_problem(problem: Exception, where: str) -> OutsideProblem | None:
    if isinstance(problem, NO_CREDENTIALS):
        return Refused(f"no usable credentials: {problem}", where=where, expected="credentials", hint=CREDENTIALS_HINT)
    return None


def _answered(problem: bad.ClientError, where: str) -> OutsideProblem:
    code, said, status = _answer(problem)
    if code in NO_BUCKET or (status == 404 and code in NO_OBJECT):
        return Missing(
            f"there is no such bucket ({said})",
            where=where,
            expected="the name of an existing bucket",
            hint="check the bucket's name, the account and the endpoint",
        )
    if code in BAD_CREDENTIALS:
        return Refused(f"the credentials were refused ({said})", where=where, hint=CREDENTIALS_HINT)
    if status in (401, 403):
        return Refused(
            f"the bucket may not be read with these credentials ({said})",
            where=where,
            expected="permission for s3:ListBucket and s3:GetObject",
            hint=CREDENTIALS_HINT,
        )
    if status >= 500:
        return Unreachable(f"the service fails ({said})", where=where, hint=f"wait; {GO_ON}")
    return Refused(f"the service refuses ({said})", where=where, expected="an S3 service there")


def object_problem(problem: Exception, key: str, where: str) -> ObjectProblem | CloudexitError:
    """What the failure of one request means for its object, or for the run where it is no matter of one object."""
    if isinstance(problem, UnicodeError):
        return ObjectRejected(key, f"the key cannot be asked for: {problem}")
    if isinstance(problem, bad.ClientError):
        return _object_answer(problem, key, where)
    if credentials := _credentials_problem(problem, where):
        return credentials
    if isinstance(problem, bad.ParamValidationError):
        return ObjectRejected(key, f"the key cannot be asked for: {problem}")
    if isinstance(problem, (bad.ConnectionError, bad.ConnectTimeoutError)):
        return SourceSilent(key, str(problem))
    return TransferBroken(key, str(problem))


def _object_answer(problem: bad.ClientError, key: str, where: str) -> ObjectProblem | CloudexitError:
    code, said, status = _answer(problem)
    if code in NO_BUCKET or code in BAD_CREDENTIALS:
        return _answered(problem, where)
    kinds: tuple[tuple[frozenset[str], type[ObjectProblem]], ...] = (
        (ARCHIVED, ObjectArchived),
        (NO_OBJECT, ObjectMissing),
        (FORBIDDEN, ObjectForbidden),
        (CHANGED, ObjectChanged),
        (THROTTLED, SlowDown),
    )
    for codes, kind in kinds:
        if code in codes:
            return kind(key, said)
    if status >= 500 or status == 408 or code == "RequestTimeout":
        return TransferBroken(key, said)
    return ObjectRejected(key, said)


def _answer(problem: bad.ClientError) -> tuple[str, str, int]:
    error = problem.response.get("Error", {})
    code = str(error.get("Code", "unknown"))
    status = int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = error.get("Message") or "no message"
    return code, f"{code}, HTTP {status}: {message}", status
