"""Watching alerts: stored before they are told, told once over kills and restarts, acknowledged by name."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.alerts.rules import Rule
from app.host import alert_file
from app.notify import outbox
from app.usecases.deliver_notices import Policy
from app.usecases.watch_alerts import AlertWatch
from tests.builders import NOW

CPU = Rule("cpu", "host_cpu_percent", 60, "warning", 300, "{value} % busy.", "Look.")
DOWN = Rule("process-down", "process_down", 0, "critical", 300, "{subject} does not run.", "Look.", escalate_s=600)


class House:
    """A watch that can be killed and started again, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, NOW
        self.restart()

    def restart(self) -> None:
        self.watch = AlertWatch(self.folder, self.folder / "notices", (CPU, DOWN))

    def look(self, times: int = 1, **down: float | None) -> None:
        """Look every five seconds; each process as given."""
        for _ in range(times):
            self.look_at({("process_down", name): value for name, value in down.items()})

    def look_at(self, readings: Mapping[tuple[str, str], float | None]) -> None:
        self.now += timedelta(seconds=5)
        self.watch.look(readings, self.now)

    @property
    def told(self) -> list[str]:
        return [notice.text for notice in outbox.pending(self.folder / "notices")]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_an_alert_goes_into_the_outbox_with_its_group_and_level(house: House):
    house.look(3, broker=1)
    (notice,) = outbox.pending(house.folder / "notices")

    assert (notice.level, notice.subject, notice.group) == ("critical", "broker", "process-down")
    assert notice.text == "broker does not run. Look."


def test_its_end_is_an_info(house: House):
    house.look(3, broker=1)
    house.look(2, broker=0)

    assert [notice.level for notice in outbox.pending(house.folder / "notices")] == ["critical", "info"]


def test_who_was_told_of_it_is_told_that_it_is_over_and_nobody_else(house: House):
    house.look(3, broker=1)
    for _ in range(3):
        house.look_at({("host_cpu_percent", ""): 99})
    house.look(2, broker=0)
    for _ in range(2):
        house.look_at({("host_cpu_percent", ""): 1})
    found = outbox.pending(house.folder / "notices")

    told = [(notice.subject, notice.level) for notice in found if Policy(least="critical").wants(notice)]
    assert told == [("broker", "critical"), ("broker", "info")]
    assert [notice.resolves for notice in found] == ["", "", "critical", "warning"]


def test_what_became_critical_is_over_for_those_who_were_told_so(house: House):
    rule = replace(CPU, escalate_s=30)
    watch = AlertWatch(house.folder, house.folder / "notices", (rule,))
    for number, busy in enumerate([99] * 10 + [1] * 2):
        watch.look({("host_cpu_percent", ""): busy}, NOW + timedelta(seconds=5 * number))
    *_, last = outbox.pending(house.folder / "notices")

    assert (last.level, last.resolves) == ("info", "critical")


def test_each_subject_is_an_alert_of_its_own(house: House):
    house.look(3, broker=1, feed=0)
    house.look(3, broker=1, feed=1)

    assert house.told == ["broker does not run. Look.", "feed does not run. Look."]


@pytest.mark.parametrize("looks", range(1, 7))
def test_a_restart_at_any_moment_neither_repeats_nor_forgets(house: House, looks: int):
    house.look(looks, broker=1)
    house.restart()
    house.look(20, broker=1)

    assert house.told == ["broker does not run. Look."]


def test_a_restart_does_not_forget_that_it_fires(house: House):
    house.look(3, broker=1)
    house.restart()
    house.look(2, broker=0)

    assert [text[:4] for text in house.told] == ["brok", "Over"]


def test_killed_between_the_file_and_the_outbox_it_tells_after_the_restart(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        """As by SIGKILL."""

    def killed(*_anything: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "post", killed)
        with pytest.raises(Killed):
            house.look(3, broker=1)
    house.restart()
    house.look(1, broker=1)

    assert house.told == ["broker does not run. Look."]


def test_killed_between_the_outbox_and_the_file_it_tells_once(house: House, monkeypatch: pytest.MonkeyPatch):
    class Killed(BaseException):
        """As by SIGKILL."""

    post = outbox.post

    def killed_after_it(directory: Path, notice: outbox.Notice) -> None:
        post(directory, notice)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "post", killed_after_it)
        with pytest.raises(Killed):
            house.look(3, broker=1)
    house.restart()
    house.look(1, broker=1)

    assert house.told == ["broker does not run. Look."]


def test_an_outbox_without_room_is_tried_again(house: House):
    (house.folder / "notices").write_text("in the way, as a full disk is", encoding="utf-8")
    house.look(3, broker=1)
    house.restart()
    (house.folder / "notices").unlink()
    house.look(1, broker=1)

    assert house.told == ["broker does not run. Look."]


def test_a_full_disk_does_not_silence_what_still_finds_room(house: House, monkeypatch: pytest.MonkeyPatch):
    def full(*_anything: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(alert_file, "write", full)
    house.look(9, broker=1)

    assert house.told == ["broker does not run. Look."]


def test_a_quiet_fleet_writes_nothing(house: House, monkeypatch: pytest.MonkeyPatch):
    written = []
    house.look(3, broker=0, feed=1)
    monkeypatch.setattr(alert_file, "write", lambda *_anything: written.append(1))
    house.look(10, broker=0, feed=1)

    assert written == []


def test_what_is_acknowledged_stays_so_over_a_restart(house: House):
    house.look(3, broker=1)
    known = house.watch.acknowledge("process-down/broker", "me")
    house.restart()
    house.look(300, broker=1)

    assert known == ["process-down/broker"]
    assert house.told == ["broker does not run. Look."]
    assert [one.acknowledged_by for one in house.watch.firing()] == ["me"]


def test_all_or_those_of_a_rule_are_acknowledged_at_once(house: House):
    for _ in range(3):
        house.look_at({("process_down", "a"): 1, ("process_down", "b"): 1, ("host_cpu_percent", ""): 99})

    assert house.watch.acknowledge("no such alert", "me") == []
    assert house.watch.acknowledge("cpu", "me") == ["cpu"]
    assert house.watch.acknowledge("process-down", "me") == ["process-down/a", "process-down/b"]
    assert house.watch.acknowledge(None, "me") == ["cpu", "process-down/a", "process-down/b"]


def test_what_fires_is_listed_gravest_first(house: House):
    for _ in range(3):
        house.look_at({("host_cpu_percent", ""): 99})
    house.look(3, broker=1)

    assert [(one.name, one.severity) for one in house.watch.firing()] == [
        ("process-down/broker", "critical"),
        ("cpu", "warning"),
    ]


def test_what_is_watched_no_more_is_forgotten_and_what_is_only_not_seen_is_not(house: House):
    house.look(3, broker=1, feed=1)
    house.look_at({})
    house.look(1, broker=None, feed=None)
    unseen = len(house.watch.firing())
    house.look(1, broker=1)

    assert unseen == 2
    assert [one.name for one in house.watch.firing()] == ["process-down/broker"]
    assert house.told[2:] == ["No longer watched: feed does not run."]


def test_what_is_watched_no_more_before_it_was_told_says_nothing(house: House):
    house.look(2, broker=0, feed=1)
    house.look(3, broker=0)

    assert house.told == []


def test_a_rule_that_is_gone_leaves_nothing_behind(house: House):
    house.look(3, broker=1)
    watch = AlertWatch(house.folder, house.folder / "notices", (CPU,))

    assert watch.firing() == []


def test_whatever_a_subject_is_called_its_notice_can_be_named(house: House):
    house.look_at({("process_down", "../../etc/" + "x" * 300): 1})
    for _ in range(3):
        house.look_at({("process_down", "../../etc/" + "x" * 300): 1})

    assert len(house.told) == 1
