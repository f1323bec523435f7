"""The table of task kinds."""

import pytest

from app.domain.posture import Posture
from app.errors import InvalidInput
from app.storage.tables import tasks
from app.usecases.task_table import KINDS, waiting_kinds

every_kind = pytest.mark.parametrize("name", KINDS)


@every_kind
def test_a_kind_is_found_by_its_own_name_and_fits_its_columns(name: str):
    kind = KINDS[name]

    assert kind.name == name
    assert len(name) <= tasks.c.kind.type.length
    assert len(kind.queue) <= tasks.c.queue.type.length
    assert kind.summary.endswith(".")


@every_kind
def test_a_payload_that_makes_no_sense_is_refused(name: str):
    with pytest.raises(InvalidInput):
        KINDS[name].begin({"no such thing": 1})


def test_a_strained_machine_puts_off_what_nobody_misses_and_never_the_judging():
    waiting = waiting_kinds(Posture(strained=True))

    assert waiting == {"check_database", "refresh_judgments"}


def test_on_a_scarce_disk_no_copy_is_begun_that_would_take_the_rest_of_it():
    assert waiting_kinds(Posture(scarce=True)) == {"backup"}
