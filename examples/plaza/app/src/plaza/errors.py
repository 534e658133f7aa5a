"""What can go wrong, apart from bugs, and whether trying again may help."""


class PlazaError(Exception):
    """Base of every failure that Plaza raises on purpose."""


class SettingsError(PlazaError):
    """An environment variable is missing or malformed. Not retriable."""


class InvalidInput(PlazaError):
    """What a person sent cannot be accepted; the message is for them. Not retriable."""


class NotFound(PlazaError):
    """The thing asked for does not exist. Not retriable."""


class NotSignedIn(PlazaError):
    """The request needs an account. Not retriable without signing in."""


class Forbidden(PlazaError):
    """The account may not do this, or a form came without its token. Not retriable."""


class TooManyAttempts(PlazaError):
    """Sign-in failed too often for this account. Retriable after some minutes."""


class MediaUnavailable(PlazaError):
    """The media store cannot be reached or refuses us. Retriable."""


class MediaMissing(PlazaError):
    """The media store answers, and has no object with this key. Not retriable."""


class MailUnavailable(PlazaError):
    """The mail server cannot be reached or puts the message off. Retriable."""


class MailRefused(PlazaError):
    """The mail server refuses this message for good. Not retriable."""


class BackupFailed(PlazaError):
    """A dump or snapshot could not be made or stored. Retriable."""
