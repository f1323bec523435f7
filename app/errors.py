"""Every error we raise, sorted by what the caller should do next.

FlotillaError
├── InvalidInput     1000  answer 400; never retry
│   └── CorruptData  1100  drop this message, count it, go on
├── NotFound         1200  answer 404
├── Refused          1300  answer 403; the caller may not do this from where it stands
├── Conflict         1400  answer 409; the thing is not in a state that allows it
├── LimitExceeded    2000  refuse the action, keep running
├── Unavailable      3000  retry later, with back-off
│   └── RateLimited  3100  retry after ``retry_after_s``
└── Misconfigured    9000  stop the process; a person must act

A message is a sentence that says what is wrong and what to do; without one, the class's docstring is the message.
"""


class FlotillaError(Exception):
    """Something went wrong inside Flotilla. See the log for the trace id of this request."""

    code = 0
    cure = ""

    def __init__(self, message: str = "", *, cure: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        if cure:
            self.cure = cure


class InvalidInput(FlotillaError):
    """The input cannot be used."""

    code = 1000
    cure = "Correct the input and send it again."


class CorruptData(InvalidInput):
    """The data contradict themselves."""

    code = 1100
    cure = "Nothing to do: the message was dropped and counted."


class NotFound(FlotillaError):
    """There is no such thing."""

    code = 1200
    cure = "Check the name or the id."


class Refused(FlotillaError):
    """This is not allowed from here."""

    code = 1300
    cure = "Call from the machine that Flotilla runs on, by its loopback address."


class Conflict(FlotillaError):
    """Its present state does not allow this."""

    code = 1400
    cure = "Read the present state, then decide again."


class LimitExceeded(FlotillaError):
    """A limit would be exceeded."""

    code = 2000
    cure = "Ask for less."


class Unavailable(FlotillaError):
    """Something that is needed does not answer just now."""

    code = 3000
    cure = "Try again in a few seconds; `flotilla doctor` says what is wrong if it lasts."


class RateLimited(Unavailable):
    """Too many requests."""

    code = 3100

    def __init__(self, message: str = "", *, retry_after_s: float, cure: str = "") -> None:
        super().__init__(message, cure=cure or f"Wait {retry_after_s:g} s, then try again.")
        self.retry_after_s = retry_after_s


class Misconfigured(FlotillaError):
    """The configuration cannot be used."""

    code = 9000
    cure = "Correct flotilla.toml or the environment, then start again."
