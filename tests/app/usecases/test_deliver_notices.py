"""Delivering notices through a real socket to a played Telegram: each told once, the gravest first, a storm in few words."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.notify import outbox
from app.notify.log import LogNotifier
from app.notify.outbox import Level, Notice
from app.notify.telegram import TelegramNotifier
from app.usecases.deliver_notices import MOST_WAITING, Delivered, NoticeDelivery, Policy
from tests.telegram import TOKEN, PlayedTelegram, played_telegram

AT = datetime(2026, 11, 21, 5, 24, 11, tzinfo=UTC)


class Person:
    """Somebody with Telegram: an outbox, a clock, and a delivery that can be killed and started again."""

    def __init__(self, directory: Path, telegram: PlayedTelegram) -> None:
        self.directory, self.telegram = directory, telegram
        self.now = AT
        self.logged: list[tuple[str, Level]] = []
        self.sent_at: list[datetime] = []
        self.policy = Policy()
        self.restart()

    def restart(self) -> None:
        notifier = TelegramNotifier(TOKEN, "42", base_url=self.telegram.base_url, monotonic=self.clock_s)
        self._delivery = NoticeDelivery(self.directory, notifier, self, sender="Flotilla on test", policy=self.policy)

    def clock_s(self) -> float:
        return self.now.timestamp()

    @property
    def longest(self) -> int:
        return 16_000

    def send(self, text: str, level: Level) -> None:
        self.logged.append((text, level))

    def post(self, notice_id: str, text: str = "It ends.", **changes: Any) -> None:
        fields = {"id": notice_id, "at": self.now, "level": "critical", "subject": "broker", "text": text}
        outbox.post(self.directory, Notice(**(fields | changes)))

    def round(self, after_s: float = 0) -> Delivered:
        self.now += timedelta(seconds=after_s)
        before = len(self.telegram.taken)
        done = self._delivery.deliver(self.now)
        self.sent_at += [self.now] * (len(self.telegram.taken) - before)
        return done

    def rounds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.round(after_s=1)

    @property
    def most_in_a_minute(self) -> int:
        minute = timedelta(minutes=1)
        return max(sum(0 * minute <= at - begin < minute for at in self.sent_at) for begin in self.sent_at)

    @property
    def waiting(self) -> list[str]:
        return [notice.id for notice in outbox.pending(self.directory)]

    @property
    def read(self) -> str:
        return "\n".join(self.telegram.taken)


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with played_telegram() as played:
        yield Person(tmp_path, played)


def test_a_notice_is_delivered_with_who_what_and_when(person: Person):
    person.post("one", "It used 90 MB twice in a row.")
    done = person.round()

    assert person.telegram.taken == [
        "Flotilla on test\nCRITICAL broker: It used 90 MB twice in a row. (2026-11-21 05:24:11 UTC)"
    ]
    assert person.waiting == []
    assert done == Delivered(messages=1, notices=1)


def test_nothing_waiting_sends_nothing(person: Person):
    person.rounds(3)

    assert person.telegram.received == []


def test_what_waits_together_is_told_together(person: Person):
    for number in range(3):
        person.post(f"n{number}", f"Text {number}.")
    person.post("other", "Another matter.", subject="monitor")
    person.round()

    assert len(person.telegram.taken) == 1
    assert all(f"Text {number}." in person.read for number in range(3))
    assert "monitor: Another matter." in person.read


def test_the_same_said_of_one_subject_is_one_line_with_its_number(person: Person):
    for number in range(3):
        person.post(f"n{number}", at=AT + timedelta(minutes=number))
    person.round()

    assert person.telegram.taken == [
        "Flotilla on test\nCRITICAL broker: It ends. (3 times, 2026-11-21 05:24:11 UTC to 05:26:11 UTC)"
    ]
    assert person.waiting == []


def test_critical_ones_come_first(person: Person):
    person.post("a", "An info.", level="info", at=AT - timedelta(hours=2))
    person.post("b", "A warning.", level="warning", at=AT - timedelta(hours=1))
    person.post("c", "A disaster.", level="critical")
    person.round()

    positions = [person.read.index(text) for text in ("A disaster.", "A warning.", "An info.")]
    assert positions == sorted(positions)


def test_subjects_are_kept_together(person: Person):
    for number, subject in enumerate(("broker", "feed", "broker", "feed")):
        person.post(f"n{number}", f"Text {number}.", subject=subject, at=AT + timedelta(seconds=number))
    person.round()

    assert [line.partition(":")[0] for line in person.telegram.taken[0].splitlines()[1:]] == [
        "CRITICAL broker",
        "CRITICAL broker",
        "CRITICAL feed",
        "CRITICAL feed",
    ]


def test_a_storm_of_a_thousand_becomes_few_messages_and_loses_no_critical_one(person: Person):
    for number in range(990):
        level = "info" if number % 2 else "warning"
        person.post(f"n{number}", f"Ordinary {number}.", level=level, subject=f"process-{number % 30}")
    for number in range(10):
        person.post(f"c{number}", f"Disaster {number}!", subject=f"process-{number}")
    person.rounds(60)

    assert person.waiting == []
    assert len(person.telegram.taken) <= 5
    assert all(f"Disaster {number}!" in person.telegram.taken[0] for number in range(10))
    told = [number for number in range(990) if f"Ordinary {number}." in person.read]
    logged = [number for number in range(990) if any(f"Ordinary {number}." in text for text, _ in person.logged)]
    assert sorted(told + logged) == list(range(990))
    assert f"{990 - len(told)} more that are not critical are in the log" in person.read
    assert len(told) == 40


def test_a_storm_of_a_thousand_critical_ones_is_told_in_full(person: Person):
    for number in range(1_000):
        person.post(f"c{number:04}", f"Disaster {number:04}!", subject=f"process-{number % 7}")
    person.rounds(150)

    assert person.waiting == []
    assert all(person.read.count(f"Disaster {number:04}!") == 1 for number in range(1_000))
    assert len(person.telegram.taken) <= 25
    assert all(len(text) <= 4096 for text in person.telegram.taken)


def test_a_critical_text_of_any_length_arrives_whole(person: Person):
    words = [f"word{number}" for number in range(2_000)]
    person.post("long", " ".join(words))
    person.rounds(30)

    assert person.waiting == []
    assert len(person.telegram.taken) == 5
    assert all(len(text) <= 4096 for text in person.telegram.taken)
    assert [word for word in person.read.split() if word.startswith("word")] == words


def test_a_long_text_goes_on_where_a_restart_cut_it_off(person: Person):
    words = [f"word{number}" for number in range(2_000)]
    person.post("long", " ".join(words))
    for _ in range(30):
        person.restart()
        person.round(after_s=1)

    assert [word for word in person.read.split() if word.startswith("word")] == words
    assert person.waiting == []


def test_a_long_text_that_is_not_critical_is_shortened_and_logged_whole(person: Person):
    person.post("long", "x" * 10_000, level="warning")
    person.rounds(3)

    assert len(person.telegram.taken) == 1
    assert len(person.read) < 1_200
    assert [text.count("x") for text, _ in person.logged] == [10_000]
    assert person.waiting == []


@pytest.mark.parametrize("step", ["broken", "hang up", "unauthorized", "no such chat"])
def test_while_telegram_fails_the_attempts_become_rarer_and_nothing_is_lost(person: Person, step: str):
    person.telegram.plan = [step] * 1_000
    person.post("one")
    attempts_in = []
    for _ in range(12):
        before = len(person.telegram.received)
        person.rounds(300)
        attempts_in.append(len(person.telegram.received) - before)
    waiting = person.waiting
    person.telegram.plan = []
    person.rounds(300)

    assert attempts_in[0] > attempts_in[-1] == 1
    assert waiting == ["one"]
    assert len(person.telegram.taken) == 1
    assert person.waiting == []


def test_a_failure_holds_back_the_whole_round(person: Person):
    person.telegram.plan = ["broken"] * 1_000
    for number in range(3):
        person.post(f"c{number}", f"{number}" * 3_000)  # one message each
    person.rounds(100)

    assert len(person.telegram.received) == 5  # after 0, 5, 15, 35 and 75 seconds


def test_after_success_the_next_failure_waits_briefly_again(person: Person):
    person.telegram.plan = ["broken"] * 5
    person.post("one")
    person.rounds(300)
    person.telegram.plan = ["broken"]
    person.post("two")
    person.rounds(10)

    assert len(person.telegram.taken) == 2


def test_a_back_off_outlives_a_restart(person: Person):
    person.telegram.plan = ["wait"]
    person.post("one")
    person.round()
    for _ in range(6):
        person.restart()
        person.round(after_s=1)
    early = len(person.telegram.received)
    person.restart()
    person.round(after_s=1)

    assert early == 1
    assert len(person.telegram.taken) == 1


def test_a_clock_that_was_set_back_does_not_silence_us(person: Person):
    person.telegram.plan = ["broken"]
    person.post("one")
    person.round()
    person.now -= timedelta(days=1)
    person.restart()
    person.round()

    assert len(person.telegram.taken) == 1


def test_a_restart_neither_loses_nor_repeats(person: Person):
    for number in range(200):
        person.post(f"c{number:03}", f"Disaster {number:03}! " + "x" * 100)
    for _ in range(30):
        person.restart()
        person.round(after_s=1)

    assert person.waiting == []
    assert all(person.read.count(f"Disaster {number:03}!") == 1 for number in range(200))


def test_killed_after_sending_and_before_putting_away_it_does_not_tell_again(person: Person, tmp_path: Path):
    person.post("one")
    person.round()
    # as a kill -9 between the two leaves it: the state says told, the notice still waits
    (tmp_path / "sent" / "one.json").rename(tmp_path / "pending" / "one.json")
    state = json.loads((tmp_path / "delivery.json").read_text())
    person.restart()
    person.rounds(5)

    assert state["told"] == ["one"]
    assert len(person.telegram.taken) == 1
    assert person.waiting == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"failures": "many"}', '{"failures": 1, "waits_until": "soon"}'])
def test_a_damaged_state_delays_nothing(person: Person, tmp_path: Path, content: str):
    (tmp_path / "delivery.json").write_text(content)
    person.post("one")
    person.restart()
    person.round()

    assert len(person.telegram.taken) == 1


def test_a_notice_that_telegram_never_takes_goes_to_the_log_and_holds_up_nobody(person: Person):
    person.telegram.plan = ["bad message"]
    person.post("bad", "Odd.")
    person.round()
    person.post("good", "Fine.")
    person.rounds(2)

    assert "Fine." in person.read
    assert [("Odd." in text, level) for text, level in person.logged] == [(True, "critical")]
    assert person.waiting == []


def test_while_nobody_can_be_reached_the_outbox_stays_bounded_and_keeps_what_is_critical(person: Person):
    person.telegram.plan = ["broken"] * 1_000
    for number in range(MOST_WAITING + 30):
        person.post(f"n{number:05}", f"Ordinary {number}.", level="info", at=AT + timedelta(seconds=number))
    person.post("c", "A disaster.", at=AT - timedelta(days=1))
    person.round()

    assert len(person.waiting) == MOST_WAITING + 1
    assert person.waiting[:2] == ["c", "n00030"]
    assert len(person.logged) == 30


def test_a_state_that_cannot_be_written_does_not_make_it_tell_twice(person: Person, tmp_path: Path):
    (tmp_path / "delivery.json").mkdir()
    person.post("one")
    person.rounds(5)

    assert len(person.telegram.taken) == 1
    assert person.waiting == []


def test_without_telegram_the_log_delivers(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    outbox.post(tmp_path, Notice("one", AT, "critical", "broker", "It ends."))
    done = NoticeDelivery(tmp_path, LogNotifier(), LogNotifier(), sender="Flotilla on test").deliver(AT)

    assert done == Delivered(messages=1, notices=1)
    assert len(caplog.records) == 1
    assert outbox.pending(tmp_path) == []


def test_a_storm_over_a_network_cut_and_restarts_is_at_most_twenty_messages_a_minute_and_loses_nothing_critical(
    person: Person,
):
    for number in range(1_000):
        level = "critical" if number % 2 else "warning"
        text = f"Alert {number:04} is so. " + "x" * 150
        person.post(f"n{number:04}", text, level=level, subject=f"process-{number % 30}", group=f"rule-{number % 12}")
    person.rounds(10)
    person.telegram.plan = ["hang up"] * 10_000
    person.rounds(40)
    person.restart()
    person.rounds(200)
    before = len(person.telegram.taken)
    person.telegram.plan = []
    for _ in range(60):
        person.restart()  # which forgets what a process remembers of its pace
        person.rounds(5)
    person.rounds(300)

    assert before < len(person.telegram.taken)
    assert person.waiting == []
    assert all(person.read.count(f"Alert {number:04} is so.") == 1 for number in range(1, 1_000, 2))
    assert person.most_in_a_minute <= 20
    ordinary = person.read + "".join(text for text, _ in person.logged)
    assert all(f"Alert {number:04} is so." in ordinary for number in range(0, 1_000, 2))


def test_a_restart_does_not_make_it_faster_than_the_other_side_allows(person: Person):
    for number in range(40):
        person.post(f"c{number}", f"{number:04} " + "x" * 3_900)  # one message each
    for _ in range(59):
        person.restart()
        person.round(after_s=1)
    within = len(person.telegram.taken)
    person.rounds(120)

    assert within == 20
    assert person.most_in_a_minute == 20
    assert person.waiting == []


def test_a_group_within_a_minute_is_one_line_with_its_number(person: Person):
    for number, name in enumerate(("broker", "feed", "broker")):
        at = AT + timedelta(seconds=number)
        person.post(f"n{number}", f"{name} does not run.", subject=name, group="process-down", at=at)
    person.post("after", "api does not run.", subject="api", group="process-down", at=AT + timedelta(seconds=61))
    person.round()

    together, after = person.telegram.taken[0].splitlines()[1:]
    assert together.startswith(
        "CRITICAL process-down: broker does not run. (2 times) feed does not run. (3 times, 2026"
    )
    assert after == "CRITICAL api: api does not run. (2026-11-21 05:25:12 UTC)"


def test_in_a_group_it_stays_known_what_each_is_about(person: Person):
    for name in ("broker", "feed"):
        person.post(name, "It ends.", subject=name, group="ends")
    person.round()

    assert "broker: It ends. feed: It ends." in person.read


def test_after_a_group_was_told_its_next_ones_gather_for_a_minute_unless_they_are_critical(person: Person):
    person.post("n0", "a is slow.", level="warning", subject="a", group="slow")
    person.round()
    person.post("n1", "b is slow.", level="warning", subject="b", group="slow")
    person.post("n2", "c is slow.", level="warning", subject="c", group="slow")
    person.post("other", "d is hot.", level="warning", subject="d", group="hot")
    person.post("c0", "e is slow.", subject="e", group="slow")
    person.rounds(58)
    early = list(person.telegram.taken)
    person.rounds(2)

    assert len(early) == 2
    assert "e is slow." in early[1]
    assert "d is hot." in early[1]
    assert "b is slow." not in early[1]
    assert "WARNING slow: b is slow. c is slow. (2 times" in person.telegram.taken[2]


def test_in_quiet_hours_only_what_is_critical_goes_out_and_the_rest_comes_as_a_digest(person: Person):
    end = AT + timedelta(hours=1)
    person.policy = Policy(quiet=lambda now: now < end)
    person.restart()
    for number in range(3):
        person.post(f"n{number}", f"Ordinary {number}.", level="warning", subject=f"s{number}")
    person.post("c", "A disaster.")
    person.rounds(60)
    quiet = list(person.telegram.taken)
    person.restart()
    person.now = end
    person.rounds(2)

    assert len(quiet) == 1
    assert "A disaster." in quiet[0]
    assert "Ordinary" not in quiet[0]
    assert person.telegram.taken[1].splitlines()[1] == "While it was quiet, 3 waited:"
    assert all(f"Ordinary {number}." in person.telegram.taken[1] for number in range(3))
    assert person.waiting == []


class Ways:
    """Two ways to a person from one outbox: the first one can be cut off."""

    def __init__(self, directory: Path, person: Person) -> None:
        self.directory, self.person = directory, person
        self.mail: list[str] = []
        self.restart()

    def restart(self) -> None:
        telegram = TelegramNotifier(TOKEN, "42", base_url=self.person.telegram.base_url, monotonic=self.person.clock_s)
        self.ways = [
            NoticeDelivery(self.directory, telegram, LogNotifier(), sender="test"),
            NoticeDelivery(
                self.directory, self, LogNotifier(), sender="test", name="mail", policy=Policy(least="critical")
            ),
        ]
        for way in self.ways:
            way.stand_beside(self.ways)

    longest = 16_000

    def send(self, text: str, level: Level) -> None:
        self.mail.append(text)

    def rounds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.person.now += timedelta(seconds=1)
            for way in self.ways:
                way.deliver(self.person.now)


def test_a_way_that_is_cut_off_delays_no_other_and_tells_later(person: Person, tmp_path: Path):
    ways = Ways(tmp_path, person)
    person.telegram.plan = ["hang up"] * 1_000
    person.post("one", "A disaster.")
    ways.rounds(10)
    ways.restart()
    ways.rounds(10)
    while_cut = (len(ways.mail), list(person.telegram.taken), person.waiting)
    person.telegram.plan = []
    ways.rounds(300)

    assert while_cut == (1, [], ["one"])
    assert len(ways.mail) == len(person.telegram.taken) == 1
    assert person.waiting == []


def test_a_way_may_be_for_what_is_critical_alone(person: Person, tmp_path: Path):
    ways = Ways(tmp_path, person)
    person.post("w", "Ordinary.", level="warning")
    person.post("c", "A disaster.")
    ways.rounds(5)

    assert "Ordinary." in person.read
    assert ["Ordinary." in text for text in ways.mail] == [False]
    assert person.waiting == []


def test_a_kill_between_putting_away_and_forgetting_leaves_nothing_for_ever(person: Person, tmp_path: Path):
    ways = Ways(tmp_path, person)
    person.post("one", "A disaster.")
    ways.rounds(3)
    for way in ("delivery.json", "delivery-mail.json"):  # both say told, and the notice is put away
        assert json.loads((tmp_path / way).read_text())["told"] == ["one"]
    ways.restart()
    person.post("two", "Another.")
    ways.rounds(3)

    assert [json.loads((tmp_path / way).read_text())["told"] for way in ("delivery.json", "delivery-mail.json")] == [
        ["two"],
        ["two"],
    ]
    assert len(ways.mail) == 2
