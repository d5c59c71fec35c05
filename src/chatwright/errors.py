"""The few exceptions that carry a person's mistake to the command line or the gateway.

Each message is one sentence that says what is wrong, where, and how to mend it. The command line prints
it and leaves with exit code 2; the gateway answers a 4xx with the OpenAI error body.
"""


class ChatwrightError(Exception):
    """A mistake a person can mend; `str(error)` is the whole sentence they are shown."""


class InputError(ChatwrightError):
    """Data or arguments that cannot be used."""


class ConfigError(ChatwrightError):
    """A setting that does not exist or has an impossible value."""


class CheckpointError(ChatwrightError):
    """A model folder that is incomplete, damaged or of a family Chatwright does not know."""


class WorkspaceError(ChatwrightError):
    """A workspace that is busy, damaged or cannot be written."""
