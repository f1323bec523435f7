"""The remedies and what is said of each that was tried."""

from datetime import timedelta

from app.domain.recovery import ACTIONS, BY_FAULT, REMEDIES, begun
from tests.builders import NOW


def test_each_fault_has_one_remedy_that_says_what_it_does_and_when_it_gives_up():
    assert len(BY_FAULT) == len(REMEDIES)
    assert {one.action for one in REMEDIES} == set(ACTIONS)
    assert all(one.does and one.gives_up and one.by for one in REMEDIES)


def test_the_end_bears_the_key_of_the_beginning():
    recovery = begun("process_fat", "market-feed", "160 MB of 150", NOW)
    ended = recovery.ended("recovered", "it works again", NOW + timedelta(seconds=3))

    assert (recovery.outcome, ended.outcome) == ("pending", "recovered")
    assert ended.key == recovery.key
    assert ended.key != begun("process_fat", "monitor", "", NOW).key
    assert ended.key != begun("process_fat", "market-feed", "", NOW + timedelta(microseconds=1)).key
