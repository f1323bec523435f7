"""Settings in the database."""

import pytest
from sqlalchemy import Engine

from app.errors import InvalidInput
from app.storage import config
from app.storage.config import ConfigEntry
from app.storage.database import reading, transaction
from tests.builders import NOW, later


def test_a_setting_is_set_changed_and_forgotten(engine: Engine):
    with transaction(engine) as db:
        config.put(db, "leverage", "10", now=NOW, config_type="NUMBER", description="at most")
        config.put(db, "leverage", "20", now=later(1), config_type="NUMBER")

        assert config.get(db, "leverage") == ConfigEntry("leverage", "20", "NUMBER", "at most", NOW, later(1))
        assert config.remove(db, "leverage")
        assert config.get(db, "leverage") is None
        assert not config.remove(db, "leverage")


def test_settings_are_listed_by_key(engine: Engine):
    with transaction(engine) as db:
        for key in ("b", "a"):
            config.put(db, key, "x", now=NOW)
    with reading(engine) as db:
        assert [entry.config_key for entry in config.listed(db)] == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "kind"), [("-1.5", "NUMBER"), ('{"a": 1}', "JSON"), ("true", "BOOLEAN"), ("", "STRING")]
)
def test_a_value_of_its_type_is_kept(engine: Engine, value: str, kind: str):
    with transaction(engine) as db:
        config.put(db, "key", value, now=NOW, config_type=kind)
        entry = config.get(db, "key")

    assert entry is not None
    assert (entry.config_value, entry.config_type) == (value, kind)


@pytest.mark.parametrize(
    ("value", "kind"), [("many", "NUMBER"), ("NaN", "NUMBER"), ("{", "JSON"), ("yes", "BOOLEAN"), ("x", "COLOUR")]
)
def test_a_value_that_is_not_of_its_type_is_refused(engine: Engine, value: str, kind: str):
    with pytest.raises(InvalidInput), transaction(engine) as db:
        config.put(db, "key", value, now=NOW, config_type=kind)
