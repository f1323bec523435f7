"""E-mail over SMTP, by the standard library."""

import base64
import logging
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Literal

from app.errors import FlotillaError, InvalidInput, Misconfigured, Unavailable
from app.notify import web
from app.notify.outbox import Level

Security = Literal["starttls", "tls", "none"]
_log = logging.getLogger(__name__)
_TIMEOUT_S = 8.0  # of each of the few steps that one message takes
_LONGEST_SUBJECT = 120
_WELCOME = 235
_CURE = "Correct [email] in flotilla.toml, then: flotilla ctl restart monitor"


class MailNotifier:
    """One server, and those who get an e-mail. Each message has a connection of its own: there are few."""

    longest = 50_000

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sender: str,
        to: Sequence[str],
        user: str = "",
        password: str = "",
        security: Security = "starttls",
        context: ssl.SSLContext | None = None,
    ) -> None:
        if not (host and sender and to):
            raise Misconfigured("email needs host, sender and to.", cure=_CURE)
        if not web.is_host(host):
            raise Misconfigured("email.host is not the name of a server.", cure=_CURE)
        self._place = (host, port)
        self._sender, self._to = sender, tuple(to)
        self._user, self._password = user, password
        self._security, self._context = security, context

    def send(self, text: str, level: Level) -> None:
        """Send one message."""
        try:
            # Half a pair of surrogates is no text, and must not hold up the rest.
            message = self._message(text.encode(errors="replace").decode(), level)
            with self._connect() as server:
                if self._user:
                    self._log_in(server)
                refused = server.send_message(message)
        except smtplib.SMTPException as error:
            raise _meaning(error) from None  # an error of a login may hold what was sent
        except ssl.SSLCertVerificationError as error:
            raise Misconfigured(f"The mail server is not who it says: {error.verify_message}", cure=_CURE) from None
        except OSError as error:
            raise Unavailable(f"The mail server does not answer: {error}") from None
        except ValueError:  # the library cannot make a command of something else; its words may hold a password
            raise Misconfigured("[email] has something that no mail server can be told.", cure=_CURE) from None
        if refused:  # the others have it, and would get it again with every attempt
            _log.warning("the mail server refuses %s. %s", ", ".join(refused), _CURE)

    def _connect(self) -> smtplib.SMTP:
        if self._security == "tls":
            return smtplib.SMTP_SSL(*self._place, timeout=_TIMEOUT_S, context=self._tls())
        server = smtplib.SMTP(*self._place, timeout=_TIMEOUT_S)
        if self._security == "starttls":
            try:
                server.starttls(context=self._tls())  # refused where it is not offered: nothing goes out in the clear
            except BaseException:
                server.close()
                raise
        return server

    def _log_in(self, server: smtplib.SMTP) -> None:
        """Say who we are. The library's own login knows ASCII alone; PLAIN is UTF-8 by RFC 4616."""
        if self._user.isascii() and self._password.isascii():
            server.login(self._user, self._password)
            return
        server.ehlo_or_helo_if_needed()
        if "PLAIN" not in server.esmtp_features.get("auth", "").upper().split():
            raise Misconfigured("The mail server takes only a user and a password of ASCII letters.", cure=_CURE)
        said = base64.b64encode(f"\0{self._user}\0{self._password}".encode()).decode()
        code, answer = server.docmd("AUTH", f"PLAIN {said}")
        if code != _WELCOME:
            raise smtplib.SMTPAuthenticationError(code, answer)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context

    def _message(self, text: str, level: Level) -> EmailMessage:
        message = EmailMessage()
        sender, _, rest = text.partition("\n")
        first = " ".join(rest.split("\n", 1)[0].split()) or level.upper()
        subject = f"{' '.join(sender.split())}: {first}"
        message["Subject"] = subject if len(subject) <= _LONGEST_SUBJECT else f"{subject[:_LONGEST_SUBJECT]}…"
        message["From"], message["To"] = self._sender, ", ".join(self._to)
        message["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2] or "flotilla")
        message["Auto-Submitted"] = "auto-generated"  # nobody's holiday notice shall answer
        if level == "critical":
            message["Importance"] = "high"
        message.set_content(text)
        return message


def _meaning(error: smtplib.SMTPException) -> FlotillaError:
    """What a refusal means for the next attempt: codes of 4xx pass, those of 5xx last."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Misconfigured(f"The mail server refuses the login ({error.smtp_code}).", cure=_CURE)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Misconfigured("The mail server does not offer what [email] asks of it, such as STARTTLS.", cure=_CURE)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        if all(code >= 500 for code in codes):
            return Misconfigured(f"The mail server refuses {', '.join(error.recipients)}.", cure=_CURE)
        return Unavailable(f"The mail server takes no mail for them now: {codes}")
    if isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500:
        return InvalidInput(f"The mail server refuses this message ({error.smtp_code}).")
    if isinstance(error, smtplib.SMTPSenderRefused) and error.smtp_code >= 500:
        return Misconfigured(f"The mail server refuses the sender ({error.smtp_code}).", cure=_CURE)
    return Unavailable(f"The mail server cannot take a message: {error}")
