"""The file that says which market the running fleet watches."""

from pathlib import Path

from app.host import fleet_source
from app.host.fleet_source import FleetSource


def test_what_was_written_is_read_until_it_is_removed(tmp_path: Path):
    fleet_source.write(tmp_path, FleetSource(("binance", "okx")))
    written = fleet_source.read(tmp_path)
    fleet_source.remove(tmp_path)
    fleet_source.remove(tmp_path)

    assert written == FleetSource(("binance", "okx"))
    assert fleet_source.read(tmp_path) is None


def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path):
    (tmp_path / fleet_source.NAME).write_text("{")

    assert fleet_source.read(tmp_path) is None
