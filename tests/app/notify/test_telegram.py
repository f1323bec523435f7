"""Telegram at the wire: a real socket, and answers as the Bot API gives them."""

import socket
from collections.abc import Iterator

import pytest

from app.errors import InvalidInput, Misconfigured, RateLimited, Unavailable
from app.notify.telegram import PER_MINUTE, TelegramNotifier
from tests.telegram import TOKEN, PlayedTelegram, played_telegram


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telegram(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedTelegram]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with played_telegram() as played:
        yield played


@pytest.fixture
def notifier(telegram: PlayedTelegram, clock: Clock) -> TelegramNotifier:
    return TelegramNotifier(TOKEN, "42", base_url=telegram.base_url, monotonic=clock)


def test_a_message_is_sent_as_plain_text(telegram: PlayedTelegram, notifier: TelegramNotifier):
    notifier.send("Ünïcode & <b>no</b> *markup* 🚢", "critical")

    assert telegram.paths == [f"/bot{TOKEN}/sendMessage"]
    assert telegram.received == [
        {
            "chat_id": "42",
            "text": "Ünïcode & <b>no</b> *markup* 🚢",
            "link_preview_options": {"is_disabled": True},
            "disable_notification": False,
        }
    ]


def test_only_an_info_is_silent(telegram: PlayedTelegram, notifier: TelegramNotifier, clock: Clock):
    notifier.send("one", "info")
    clock.now_s += 1
    notifier.send("two", "warning")

    assert [message["disable_notification"] for message in telegram.received] == [True, False]


@pytest.mark.parametrize("step", ["unauthorized", "blocked", "no such bot", "no such chat", "moved"])
def test_a_refusal_that_lasts_asks_for_a_person(telegram: PlayedTelegram, notifier: TelegramNotifier, step: str):
    telegram.plan = [step]

    with pytest.raises(Misconfigured) as refused:
        notifier.send("text", "info")
    assert refused.value.cure


def test_a_group_that_moved_says_where_to(telegram: PlayedTelegram, notifier: TelegramNotifier):
    telegram.plan = ["moved"]

    with pytest.raises(Misconfigured) as refused:
        notifier.send("text", "info")
    assert "-100123" in refused.value.cure


def test_a_message_that_can_never_be_sent_is_told_apart(telegram: PlayedTelegram, notifier: TelegramNotifier):
    telegram.plan = ["bad message"]

    with pytest.raises(InvalidInput):
        notifier.send("text", "info")


@pytest.mark.parametrize("step", ["broken", "not Telegram", "hang up", "redirect"])
def test_trouble_that_passes_is_told_as_such(telegram: PlayedTelegram, notifier: TelegramNotifier, step: str):
    telegram.plan = [step]

    with pytest.raises(Unavailable):
        notifier.send("text", "info")


def test_a_redirect_is_not_followed_because_the_address_holds_the_token(
    telegram: PlayedTelegram, notifier: TelegramNotifier
):
    telegram.plan = ["redirect"]
    with pytest.raises(Unavailable):
        notifier.send("text", "info")

    assert len(telegram.paths) == 1


def test_nobody_there_is_trouble_that_passes():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        notifier = TelegramNotifier(TOKEN, "42", base_url=f"http://127.0.0.1:{unused.getsockname()[1]}")

        with pytest.raises(Unavailable):
            notifier.send("text", "info")


def test_the_wait_that_telegram_asks_for_is_kept(telegram: PlayedTelegram, notifier: TelegramNotifier, clock: Clock):
    telegram.plan = ["wait"]
    with pytest.raises(RateLimited) as limited:
        notifier.send("text", "info")
    asked_s = limited.value.retry_after_s
    clock.now_s += 6.9
    with pytest.raises(RateLimited):
        notifier.send("text", "info")
    clock.now_s += 0.1
    notifier.send("text", "info")

    assert asked_s == 7
    assert len(telegram.received) == 2  # the attempt in between never left the house


def test_two_messages_do_not_go_out_within_a_second(telegram: PlayedTelegram, notifier: TelegramNotifier, clock: Clock):
    notifier.send("one", "info")
    clock.now_s += 0.4
    with pytest.raises(RateLimited) as limited:
        notifier.send("two", "info")
    clock.now_s += limited.value.retry_after_s
    notifier.send("two", "info")

    assert limited.value.retry_after_s == pytest.approx(0.6)
    assert telegram.taken == ["one", "two"]


def test_no_more_than_twenty_messages_go_out_within_any_minute(
    telegram: PlayedTelegram, notifier: TelegramNotifier, clock: Clock
):
    sent_at_s = []
    for tick in range(2_000):
        clock.now_s = 1_000 + tick / 10
        try:
            notifier.send("text", "info")
        except RateLimited:
            continue
        sent_at_s.append(clock.now_s)

    for at_s in sent_at_s:
        assert sum(at_s <= other_s < at_s + 60 for other_s in sent_at_s) <= PER_MINUTE
    assert len(telegram.taken) == len(sent_at_s) >= 3 * PER_MINUTE


@pytest.mark.parametrize("text", ["", " \n", "x" * 4097, "🚢" * 2049])
def test_a_text_that_does_not_fit_is_refused_before_it_is_sent(
    telegram: PlayedTelegram, notifier: TelegramNotifier, text: str
):
    with pytest.raises(InvalidInput):
        notifier.send(text, "info")
    assert telegram.received == []


@pytest.mark.parametrize("text", ["x" * 4096, "🚢" * 2048])
def test_the_longest_text_fits(telegram: PlayedTelegram, notifier: TelegramNotifier, text: str):
    notifier.send(text, "info")

    assert telegram.taken == [text]


@pytest.mark.parametrize("step", ["nobody", "unauthorized", "broken", "hang up", "redirect", "no such chat"])
def test_no_error_tells_the_token(telegram: PlayedTelegram, notifier: TelegramNotifier, clock: Clock, step: str):
    if step == "nobody":
        notifier = TelegramNotifier(TOKEN, "42", base_url="http://nobody.invalid", monotonic=clock)
    telegram.plan = [step]
    with pytest.raises((Misconfigured, Unavailable)) as raised:
        notifier.send("text", "info")

    error: BaseException | None = raised.value
    while error is not None:
        assert TOKEN not in f"{error!r} {error}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("token", ["", "no-number", "123:has space", "123:has/slash", "123:has\nline"])
def test_what_cannot_be_a_token_is_refused_at_the_start(token: str):
    with pytest.raises(Misconfigured) as refused:
        TelegramNotifier(token, "42")
    assert not token or token not in str(refused.value)


@pytest.mark.parametrize(
    "base_url", ["", "api.telegram.org", "ftp://host", "http://", "http://host/a b", "http://[::1", "http://host:port"]
)
def test_what_cannot_be_an_address_is_refused_at_the_start(base_url: str):
    with pytest.raises(Misconfigured):
        TelegramNotifier(TOKEN, "42", base_url=base_url)


def test_what_is_written_to_the_bot_is_heard_with_its_chat_and_number(
    telegram: PlayedTelegram, notifier: TelegramNotifier
):
    telegram.write("/status", chat_id=42)
    telegram.write("/stop", chat_id=7)
    telegram.updates.append({"update_id": 3, "edited_message": {"text": "/stop"}})
    telegram.updates.append({"no": "number"})
    heard = notifier.updates(None, wait_s=0)

    assert [(one.number, one.text, notifier.is_mine(one)) for one in heard] == [
        (1, "/status", True),
        (2, "/stop", False),
        (3, "", False),
    ]


def test_an_offset_takes_what_came_before_it_off_the_list(telegram: PlayedTelegram, notifier: TelegramNotifier):
    for text in ("/one", "/two", "/three"):
        telegram.write(text)

    assert [one.text for one in notifier.updates(3, wait_s=0)] == ["/three"]
    assert [one.text for one in notifier.updates(None, wait_s=0)] == ["/three"]


def test_two_that_hear_the_same_bot_are_told_so(telegram: PlayedTelegram, notifier: TelegramNotifier):
    telegram.hearing = ["conflict"]

    with pytest.raises(Misconfigured, match="Somebody else"):
        notifier.updates(None, wait_s=0)


def test_an_address_with_other_letters_than_ascii_is_asked_as_browsers_do(telegram: PlayedTelegram):
    TelegramNotifier(TOKEN, "42", base_url=f"{telegram.base_url}/посредник").send("text", "info")

    assert telegram.paths == [f"/%D0%BF%D0%BE%D1%81%D1%80%D0%B5%D0%B4%D0%BD%D0%B8%D0%BA/bot{TOKEN}/sendMessage"]


def test_an_address_that_the_library_refuses_is_a_persons_to_mend_and_not_told(notifier: TelegramNotifier):
    notifier._address = f"http://127.0.0.1:9/ü/bot{TOKEN}"

    with pytest.raises(Misconfigured) as refused:
        notifier.send("text", "info")
    assert TOKEN not in str(refused.value)
