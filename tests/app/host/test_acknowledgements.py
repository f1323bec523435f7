"""Who knows of which alert, on the way to the monitor."""

from pathlib import Path

from app.host import acknowledgements
from app.host.acknowledgements import Acknowledgement
from tests.builders import NOW

CPU, DOWN = Acknowledgement("cpu/", "ann", NOW), Acknowledgement("process-down/okx", "ben", NOW)


def test_what_was_asked_is_handed_on_once(tmp_path: Path):
    acknowledgements.ask(tmp_path, CPU)
    acknowledgements.ask(tmp_path, DOWN)

    assert list(acknowledgements.taken(tmp_path)) == [CPU, DOWN]
    assert list(acknowledgements.taken(tmp_path)) == []


def test_what_was_being_handed_on_when_somebody_was_killed_comes_again(tmp_path: Path):
    acknowledgements.ask(tmp_path, CPU)
    next(acknowledgements.taken(tmp_path))

    assert list(acknowledgements.taken(tmp_path)) == [CPU]


def test_a_damaged_line_costs_only_itself(tmp_path: Path):
    acknowledgements.spool_in(tmp_path).append([b"{", b"[]", b'{"name": "x", "by": "y", "fired_at": "z"}'])
    acknowledgements.ask(tmp_path, CPU)

    assert list(acknowledgements.taken(tmp_path)) == [CPU]
