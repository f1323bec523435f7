"""Stepping an alert: when it fires, when it is over, and what never happens whatever the readings are."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.alerts.rules import Rule
from app.domain.alerts.stepping import AlertState, Event, acknowledge, end, step
from tests.builders import NOW, later

BAD, GOOD = 90.0, 10.0


def a_rule(**changes: Any) -> Rule:
    fields: dict[str, Any] = {
        "name": "cpu",
        "reads": "host_cpu_percent",
        "limit": 60,
        "severity": "warning",
        "cooldown_s": 300,
        "sentence": "{subject} is {value} % busy (limit {limit} %).",
        "what_to_do": "Look.",
    }
    return Rule(**(fields | changes))


def stepped(
    rule: Rule, readings: list[float | None], state: AlertState | None = None, *, every_s: float = 5, from_s: float = 0
) -> tuple[AlertState, list[Event]]:
    """Look every few seconds; where that led, and what was to be told."""
    state, events = state or AlertState(), []
    for number, reading in enumerate(readings):
        state, more = step(rule, state, reading, later(from_s + number * every_s), subject="It")
        events += more
    return state, events


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_it_fires_at_the_third_bad_look_without_two_good_ones_in_a_row_before_it():
    before, quiet = stepped(a_rule(), [BAD, BAD, GOOD, GOOD, BAD, BAD])
    state, events = stepped(a_rule(), [BAD, BAD, GOOD, GOOD, BAD, BAD, BAD])

    assert (before.status, quiet) == ("pending", [])
    assert state.status == "firing"
    assert [event.text for event in events] == ["It is 90 % busy (limit 60 %). Look."]


def test_it_fires_only_once_it_has_lasted_as_long_as_the_rule_asks():
    _, early = stepped(a_rule(for_s=60), [BAD] * 12)
    _, events = stepped(a_rule(for_s=60), [BAD] * 13)

    assert early == []
    assert kinds(events) == ["fired"]


def test_what_is_bad_in_four_of_five_looks_is_bad_though_the_rule_asks_for_a_minute():
    _, events = stepped(a_rule(for_s=60), [BAD, BAD, BAD, BAD, GOOD] * 4)

    assert kinds(events) == ["fired"]
    assert events[0].at == later(60)


def test_two_good_looks_in_a_row_forget_what_was_pending_and_two_apart_do_not():
    forgotten, _ = stepped(a_rule(), [BAD, BAD, GOOD, GOOD])
    apart, _ = stepped(a_rule(failures=5), [BAD, GOOD, BAD, GOOD])

    assert forgotten == AlertState()
    assert (apart.status, apart.bad) == ("pending", 2)


def test_bad_looks_with_long_silence_between_them_do_not_belong_together():
    """Nothing was known for a quarter of an hour: then one bad look fired a rule that asks for five minutes of them."""
    rule = a_rule(for_s=300)
    before, _ = stepped(rule, [BAD] * 3)
    state, events = stepped(rule, [BAD, None, BAD], before, from_s=900)

    assert (state.status, state.since, events) == ("pending", later(900), [])


def test_what_is_no_longer_watched_ends_with_a_word_if_it_was_told():
    firing, _ = stepped(a_rule(), [BAD] * 3)
    pending, _ = stepped(a_rule(), [BAD] * 2)
    (event,) = end(a_rule(), firing, later(130), subject="It")

    assert (event.kind, event.number) == ("resolved", firing.told + 1)
    assert event.text == "No longer watched after 2 min: It is 90 % busy (limit 60 %)."
    assert end(a_rule(), pending, later(60)) == ()


def test_what_is_at_the_limit_is_well():
    assert stepped(a_rule(), [60.0] * 9)[1] == []


def test_a_rule_may_ask_for_more_instead_of_less():
    assert kinds(stepped(a_rule(limit=95, direction="below"), [94.0] * 3)[1]) == ["fired"]


def test_it_is_over_at_the_second_good_look_in_a_row():
    state, events = stepped(a_rule(), [BAD] * 3 + [GOOD, BAD, GOOD, GOOD])

    assert state.status == "resolved"
    assert kinds(events) == ["fired", "resolved"]


def test_what_is_not_known_neither_fires_nor_resolves():
    firing, _ = stepped(a_rule(), [BAD] * 3)

    assert stepped(a_rule(), [BAD, BAD, None, float("nan")])[1] == []
    assert stepped(a_rule(), [None] * 9, firing) == (firing, [])


def test_it_does_not_fire_again_within_its_cooldown_but_right_after_it():
    state, _ = stepped(a_rule(), [BAD] * 3 + [GOOD] * 2)
    _, within = stepped(a_rule(), [BAD] * 50, state, from_s=25)
    _, after = stepped(a_rule(), [BAD] * 60, state, from_s=25)

    assert within == []
    assert kinds(after) == ["fired"]
    assert after[0].at == later(10 + 300)


def test_after_its_cooldown_what_is_well_is_forgotten():
    state, _ = stepped(a_rule(), [BAD] * 3 + [GOOD] * 2)

    assert step(a_rule(), state, GOOD, later(400))[0] == AlertState()


def test_while_nobody_acknowledges_it_is_told_again_and_less_and_less_often():
    _, events = stepped(a_rule(), [BAD] * (3 + 3 * 720))  # three hours

    assert kinds(events) == ["fired", *["repeated"] * 5]
    minutes = [round((event.at - events[0].at).total_seconds() / 60) for event in events]
    assert minutes == [0, 5, 15, 35, 75, 135]


def test_what_is_acknowledged_is_neither_repeated_nor_escalated_and_its_end_is_told():
    state, _ = stepped(a_rule(escalate_s=600), [BAD] * 3)
    known, events = stepped(a_rule(escalate_s=600), [BAD] * 720, acknowledge(state, "me"), from_s=15)
    _, end = stepped(a_rule(), [GOOD] * 2, known, from_s=4000)

    assert events == []
    assert kinds(end) == ["resolved"]


def test_a_new_firing_is_not_acknowledged_by_an_old_word():
    state, _ = stepped(a_rule(), [BAD] * 3)
    state, _ = stepped(a_rule(), [GOOD] * 2, acknowledge(state, "me"), from_s=15)
    state, events = stepped(a_rule(), [BAD] * 3, state, from_s=400)

    assert kinds(events) == ["fired"]
    assert state.acknowledged_by is None


def test_what_does_not_fire_cannot_be_acknowledged():
    assert acknowledge(AlertState(), "me") == AlertState()


def test_what_nobody_acknowledges_becomes_critical_once():
    state, events = stepped(a_rule(escalate_s=60), [BAD] * 24)

    assert kinds(events) == ["fired", "escalated"]
    assert [event.severity for event in events] == ["warning", "critical"]
    assert events[1].text == "Nobody has acknowledged this after 1 min: It is 90 % busy (limit 60 %). Look."
    assert state.escalated


def test_a_clock_that_was_set_back_holds_nothing_up_for_longer_than_a_cooldown():
    state, _ = stepped(a_rule(), [BAD] * 3 + [GOOD] * 2)
    _, events = stepped(a_rule(), [BAD] * 70, state, from_s=-86_400)

    assert kinds(events) == ["fired"]


rules = st.builds(
    a_rule,
    cooldown_s=st.sampled_from([30.0, 180.0, 300.0]),
    for_s=st.sampled_from([0.0, 20.0]),
    failures=st.integers(1, 3),
    recoveries=st.integers(1, 3),
    escalate_s=st.sampled_from([None, 60.0]),
)
readings = st.lists(st.sampled_from([BAD, BAD, GOOD, None]), max_size=150)


@given(rules, readings)
def test_it_never_fires_twice_within_a_cooldown(rule: Rule, seen: list[float | None]):
    fired = [event.at for event in stepped(rule, seen)[1] if event.kind == "fired"]

    assert all(b - a >= timedelta(seconds=rule.cooldown_s) for a, b in pairwise(fired))


@given(rules, readings)
def test_each_firing_has_at_most_one_end_and_no_end_comes_without_a_firing(rule: Rule, seen: list[float | None]):
    ends = [kind for kind in kinds(stepped(rule, seen)[1]) if kind in ("fired", "resolved")]

    assert ends == ["fired", "resolved"] * (len(ends) // 2) + ["fired"] * (len(ends) % 2)


@given(rules, readings)
def test_looks_that_saw_nothing_change_nothing(rule: Rule, seen: list[float | None]):
    state = AlertState()
    for number, reading in enumerate(seen):
        at = later(number * 5)
        unknown, silent = step(rule, state, None, at)
        assert (unknown, silent) == (state, ())
        state, _ = step(rule, state, reading, at)


@given(rules, readings)
def test_no_two_messages_have_the_same_name(rule: Rule, seen: list[float | None]):
    names = [(event.fired_at, event.number) for event in stepped(rule, seen)[1]]

    assert len(set(names)) == len(names)


@given(rules, readings, st.integers(0, 149))
def test_once_it_is_acknowledged_the_next_word_is_its_end(rule: Rule, seen: list[float | None], at: int):
    state, _ = stepped(rule, seen[:at])
    known = acknowledge(state, "me")
    _, events = stepped(rule, seen[at:], known, from_s=at * 5)

    assert state.status != "firing" or kinds(events)[:1] in ([], ["resolved"])


def test_time_is_only_what_it_is_given():
    assert step(a_rule(failures=1), AlertState(), BAD, NOW)[0].fired_at == NOW
