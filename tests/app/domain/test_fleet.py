from dataclasses import replace

from app.domain.fleet import Observation, ProcessSpec, Step, Watch, observe, unexpected_exit

SPEC = ProcessSpec("strategy-worker", ceiling_mb=150, heartbeat_s=5, grace_s=15, when_exhausted="stop", role="work")


class Night:
    """A night of one process: looks at it, second by second, and remembers what was decided."""

    def __init__(self, spec: ProcessSpec = SPEC, watch: Watch | None = None) -> None:
        self.spec, self.watch, self.now_s, self.pid = spec, watch or Watch(), 1_000.0, 1
        self.beat = 0.0
        self.decided: list[tuple[str, str]] = []

    def look(
        self, *, memory_mb: float | None = None, working: bool = True, after_s: float = 1.0, alive: bool = True
    ) -> None:
        self.now_s += after_s
        if working:
            self.beat += 1
        seen = Observation(self.now_s, self.pid if alive else None, memory_mb, self.beat)
        self._take(observe(self.spec, self.watch, seen))

    def crash(self, *, after_s: float = 20.0) -> None:
        self.now_s += after_s
        self.pid += 1
        self._take(unexpected_exit(self.spec, self.watch, self.now_s))

    def replaced(self) -> None:
        self.pid += 1
        self.look(memory_mb=10)

    def _take(self, step: Step) -> None:
        self.watch = step.watch
        self.decided += [(verdict.kind, verdict.why) for verdict in step.verdicts]

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.decided]


def over_twice(night: Night) -> None:
    night.look(memory_mb=200)
    night.look(memory_mb=200)


def test_one_sample_over_the_ceiling_is_only_a_burst():
    night = Night()
    night.look(memory_mb=10)

    night.look(memory_mb=200)
    night.look(memory_mb=100)
    night.look(memory_mb=200)

    assert night.kinds == []


def test_looks_without_a_memory_sample_do_not_forget_the_last_one():
    night = Night()
    night.look(memory_mb=200)
    night.look()
    night.look()

    night.look(memory_mb=200)

    assert night.kinds == ["drain", "tell"]


def test_two_samples_over_the_ceiling_ask_it_to_drain_and_tell_a_person():
    night = Night()

    over_twice(night)

    assert night.kinds == ["drain", "tell"]
    assert "200 MB" in night.decided[0][1]
    assert "150 MB" in night.decided[0][1]


def test_exactly_the_ceiling_is_allowed():
    night = Night()

    night.look(memory_mb=150)
    night.look(memory_mb=150)
    night.look(memory_mb=150)

    assert night.kinds == []


def test_a_draining_process_is_left_alone_for_its_grace_and_then_ended_hard():
    night = Night()
    over_twice(night)

    for _ in range(15):
        night.look(memory_mb=200, working=False)
    within_grace = list(night.kinds)
    night.look(memory_mb=200, working=False)

    assert within_grace == ["drain", "tell"]
    assert night.kinds == ["drain", "tell", "kill"]


def test_a_process_that_drained_in_time_is_never_killed():
    night = Night()
    over_twice(night)

    night.replaced()
    for _ in range(60):
        night.look(memory_mb=10)

    assert night.kinds == ["drain", "tell"]


def test_a_silent_process_is_drained_once_two_heartbeats_are_missed():
    night = Night()
    night.look()

    for _ in range(10):
        night.look(working=False)
    after_two_beats = list(night.kinds)
    night.look(working=False)

    assert after_two_beats == []
    assert night.kinds == ["drain", "tell"]
    assert "no work for 11 s" in night.decided[0][1]


def test_a_new_process_is_given_its_first_heartbeats_before_it_counts_as_silent():
    night = Night()
    night.look()
    for _ in range(8):
        night.look(working=False)

    night.pid += 1
    for _ in range(10):
        night.look(working=False)

    assert night.kinds == []


def test_a_suspended_machine_does_not_look_like_silence():
    """The monotonic clock stands still while the machine sleeps, so the looks stay a second apart."""
    night = Night()
    night.look()

    night.beat += 3_600e9  # the wall clock jumped an hour
    night.look(working=False)

    assert night.kinds == []


def test_the_fourth_restart_within_an_hour_stops_a_process_that_is_to_be_stopped_then():
    night = Night()
    for _ in range(3):
        over_twice(night)
        night.replaced()

    over_twice(night)

    assert night.kinds == ["drain", "tell"] * 3 + ["stop", "tell"]
    assert "has been stopped" in night.decided[-1][1]


def test_a_process_that_is_to_run_on_is_left_running_and_a_person_is_told_once_an_hour():
    night = Night(replace(SPEC, when_exhausted="run"))
    for _ in range(3):
        over_twice(night)
        night.replaced()

    for _ in range(600):
        night.look(memory_mb=200)

    assert night.kinds == ["drain", "tell"] * 3 + ["tell"]
    assert "left running" in night.decided[-1][1]


def test_restarts_of_more_than_an_hour_ago_do_not_count():
    night = Night()
    for _ in range(3):
        over_twice(night)
        night.replaced()

    night.look(memory_mb=10, after_s=3_600)
    over_twice(night)

    assert night.kinds == ["drain", "tell"] * 4


def test_a_crash_every_twenty_seconds_is_told_within_three_minutes():
    night = Night(replace(SPEC, when_exhausted="run"))

    for _ in range(6):
        night.crash(after_s=20)

    assert night.kinds == ["tell"]
    assert night.now_s - 1_000 < 180


def test_a_few_crashes_far_apart_are_no_loop():
    night = Night()

    for _ in range(20):
        night.crash(after_s=60)

    assert night.kinds == []


def test_what_an_earlier_guard_did_still_counts():
    night = Night(watch=Watch(restarts=(400.0, 500.0, 600.0)))

    over_twice(night)

    assert night.kinds == ["stop", "tell"]


def test_times_from_before_a_reboot_are_forgotten():
    night = Night(watch=Watch(restarts=(9_000.0, 9_100.0, 9_200.0)))

    over_twice(night)

    assert night.kinds == ["drain", "tell"]


def test_a_leak_that_was_started_again_by_hand_is_stopped_again_without_a_second_telling():
    night = Night()
    for _ in range(3):
        over_twice(night)
        night.replaced()
    over_twice(night)
    night.look(alive=False, working=False)

    night.replaced()
    over_twice(night)

    assert night.kinds == ["drain", "tell"] * 3 + ["stop", "tell", "stop"]


def test_having_told_in_an_earlier_boot_does_not_silence_this_one():
    night = Night(replace(SPEC, when_exhausted="run"), Watch(exhausted_told_s=90_000.0))

    for _ in range(6):
        night.crash(after_s=2)

    assert night.kinds == ["tell"]


def test_a_stopped_process_is_not_judged():
    night = Night()
    night.look(memory_mb=200)

    for _ in range(60):
        night.look(alive=False, working=False)

    assert night.kinds == []


def test_a_process_has_a_minute_to_its_first_work_and_then_its_heartbeats():
    night = Night()
    for _ in range(59):
        night.now_s += 1
        night._take(observe(SPEC, night.watch, Observation(night.now_s, 1, None, None)))
    assert night.kinds == []
    night.look()
    for _ in range(11):
        night.look(working=False)

    assert night.kinds == ["drain", "tell"]


def test_a_process_that_never_does_any_work_is_replaced_after_its_minute():
    night = Night()
    for _ in range(62):
        night.now_s += 1
        night._take(observe(SPEC, night.watch, Observation(night.now_s, 1, None, None)))

    assert night.kinds == ["drain", "tell"]
