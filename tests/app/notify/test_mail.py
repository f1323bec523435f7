"""E-mail at the wire: a real socket, real TLS, and answers as mail servers give them."""

import email
import email.policy
import shutil
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from app.errors import FlotillaError, InvalidInput, Misconfigured, Unavailable
from app.notify.mail import MailNotifier
from tests.mail import PlayedMail, certificate, played_mail

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")


@pytest.fixture
def server() -> Iterator[PlayedMail]:
    with played_mail() as played:
        yield played


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return certificate(tmp_path_factory.mktemp("tls"))


def a_notifier(server: PlayedMail, **changes: Any) -> MailNotifier:
    fields: dict[str, Any] = {"sender": "flotilla@example.org", "to": ["a@example.org"], "security": "none"}
    return MailNotifier("localhost", server.port, **(fields | changes))


def parsed(text: str) -> EmailMessage:
    message = email.message_from_bytes(text.encode(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_a_message_arrives_whole_with_what_it_is_about_in_its_subject(server: PlayedMail):
    text = "Flotilla on test\nCRITICAL broker: It ends. 🚢 Ünïcode\n.a line that begins with a dot\nlast"
    a_notifier(server, to=["a@example.org", "b@example.org"]).send(text, "critical")
    message = parsed(server.taken[0])

    assert message["Subject"] == "Flotilla on test: CRITICAL broker: It ends. 🚢 Ünïcode"
    assert (message["From"], message["To"]) == ("flotilla@example.org", "a@example.org, b@example.org")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Importance"] == "high"
    assert message.get_content().strip() == text
    assert server.said.count("RCPT") == 2


def test_a_long_first_line_is_cut_in_the_subject_alone(server: PlayedMail):
    a_notifier(server).send("Flotilla\n" + "word " * 100, "warning")
    message = parsed(server.taken[0])

    assert len(message["Subject"]) <= 121
    assert message.get_content().count("word") == 100


def test_a_text_cannot_write_headers(server: PlayedMail):
    a_notifier(server).send("Flotilla\r\nBcc: x@example.org\nText", "info")

    assert parsed(server.taken[0])["Bcc"] is None


@needs_openssl
def test_starttls_encrypts_before_the_login(tls: tuple[ssl.SSLContext, ssl.SSLContext]):
    with played_mail(tls[0]) as server:
        server.offers = ["AUTH PLAIN"]
        a_notifier(server, security="starttls", context=tls[1], user="me", password="s3cret").send("x\ny", "info")

        assert server.said.index("STARTTLS") < server.said.index("AUTH")
        assert server.logins == ["\0me\0s3cret"]
        assert server.encrypted == [True]


@needs_openssl
def test_a_connection_may_begin_encrypted(tls: tuple[ssl.SSLContext, ssl.SSLContext]):
    with played_mail(tls[0], at_once=True) as server:
        a_notifier(server, security="tls", context=tls[1]).send("x\ny", "info")

        assert server.encrypted == [True]


@needs_openssl
def test_a_server_that_cannot_prove_who_it_is_is_told_nothing(tls: tuple[ssl.SSLContext, ssl.SSLContext]):
    with played_mail(tls[0]) as server:
        with pytest.raises(Misconfigured):
            a_notifier(server, security="starttls", user="me", password="s3cret").send("x\ny", "info")

        assert server.logins == server.taken == []


def test_without_starttls_nothing_goes_out_in_the_clear(server: PlayedMail):
    server.offers = ["AUTH PLAIN"]
    with pytest.raises(Misconfigured):
        a_notifier(server, security="starttls", user="me", password="s3cret").send("x\ny", "info")

    assert server.logins == server.taken == []


@pytest.mark.parametrize(
    ("answers", "meaning"),
    [
        ({"MAIL": "451 later"}, Unavailable),
        ({"MAIL": "550 not you"}, Misconfigured),
        ({"RCPT": "550 no such user"}, Misconfigured),
        ({"RCPT": "450 mailbox busy"}, Unavailable),
        ({"END": "554 looks like spam"}, InvalidInput),
        ({"END": "452 disk full"}, Unavailable),
        ({"DATA": "hang up"}, Unavailable),
        ({"EHLO": "hang up"}, Unavailable),
    ],
)
def test_a_refusal_says_whether_to_try_again(server: PlayedMail, answers: dict[str, str], meaning: type[FlotillaError]):
    server.answers = answers

    with pytest.raises(FlotillaError) as refused:
        a_notifier(server).send("x\ny", "info")
    assert type(refused.value) is meaning


def test_a_refused_login_is_told_without_the_password(server: PlayedMail):
    server.offers, server.answers = ["AUTH PLAIN"], {"AUTH": "535 wrong"}

    with pytest.raises(Misconfigured) as refused:
        a_notifier(server, user="me", password="s3cret").send("x\ny", "info")
    assert "s3cret" not in f"{refused.value!r}{refused.value.cure}"


def test_a_server_that_is_away_is_tried_again():
    with played_mail() as server:
        pass

    with pytest.raises(Unavailable):
        a_notifier(server).send("x\ny", "info")


def test_without_somebody_to_tell_it_cannot_be_made():
    with pytest.raises(Misconfigured):
        MailNotifier("localhost", 25, sender="a@example.org", to=[])


@pytest.mark.parametrize("host", ["mail..example.com", "m" * 70 + ".example", "mail example", "mail\0"])
def test_a_host_that_no_resolver_can_be_asked_for_is_refused(host: str):
    with pytest.raises(Misconfigured):
        MailNotifier(host, 25, sender="a@example.org", to=["a@example.org"])


@pytest.mark.parametrize(("user", "password"), [("me", "pässwort"), ("fü", "s3cret")])
def test_a_login_may_have_letters_of_any_language(server: PlayedMail, user: str, password: str):
    server.offers = ["AUTH LOGIN PLAIN"]
    a_notifier(server, user=user, password=password).send("x\ny", "info")

    assert server.logins == [f"\0{user}\0{password}"]
    assert len(server.taken) == 1


def test_such_a_login_that_is_refused_is_told_without_the_password(server: PlayedMail):
    server.offers, server.answers = ["AUTH PLAIN"], {"AUTH": "535 wrong"}

    with pytest.raises(Misconfigured, match="535") as refused:
        a_notifier(server, user="me", password="pässwort").send("x\ny", "info")
    assert "pässwort" not in f"{refused.value!r}{refused.value.cure}"


def test_a_server_that_takes_no_such_login_is_told_nothing(server: PlayedMail):
    server.offers = ["AUTH LOGIN CRAM-MD5"]

    with pytest.raises(Misconfigured):
        a_notifier(server, user="me", password="pässwort").send("x\ny", "info")
    assert "AUTH" not in server.said


def test_a_password_of_bytes_that_are_no_text_is_a_persons_to_mend(server: PlayedMail):
    server.offers = ["AUTH PLAIN"]

    with pytest.raises(Misconfigured):
        a_notifier(server, user="me", password="\udcfc").send("x\ny", "info")


def test_half_a_letter_in_a_text_does_not_hold_it_up(server: PlayedMail):
    a_notifier(server).send("Flotilla\nIt is \ud83d.", "info")

    assert "It is ?." in parsed(server.taken[0]).get_content()
