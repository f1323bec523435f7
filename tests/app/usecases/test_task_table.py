"""The table of task kinds."""

import pytest

from app.errors import InvalidInput
from app.storage.tables import tasks
from app.usecases.task_table import KINDS

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
