"""Archives as files."""

import pytest

from app.errors import CorruptData, LimitExceeded, NotFound
from app.host import archives, packed
from app.host.archives import Contents, Manifest

LINES = [b'[1,"a"]', b'[3,"b"]']


def write(folder, lines=LINES, first: int = 1, last: int = 3) -> Manifest:
    moments = ("2026-09-01T00:00:00+00:00", "2026-09-02T00:00:00+00:00")
    contents = Contents("things", "2026-09", ["id", "word"], {}, "0004", first, last, *moments)
    return archives.write(folder, contents, lines, "2026-11-21T05:00:00+00:00")


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_was_written_reads_back(tmp_path):
    manifest = write(tmp_path)
    archives.verify(tmp_path, manifest)

    assert list(archives.lines(tmp_path, manifest)) == LINES
    assert archives.listed(tmp_path) == [manifest] == [archives.get(tmp_path, manifest.name)]
    assert (manifest.rows, manifest.first_id, manifest.last_id) == (2, 1, 3)


def test_the_same_rows_are_the_same_archive(tmp_path):
    assert write(tmp_path) == write(tmp_path)
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("harm", ["cut off", "another byte", "gone", "other rows"])
def test_an_archive_that_is_not_what_its_manifest_says_is_found(tmp_path, harm: str):
    manifest = write(tmp_path)
    data = tmp_path / f"{manifest.name}.jsonl.gz"
    was = data.read_bytes()
    if harm == "gone":
        data.unlink()
    elif harm == "other rows":
        packed.pack(data, [b"[9]\n"])
    else:
        data.write_bytes(was[:-9] if harm == "cut off" else was[:15] + bytes([was[15] ^ 1]) + was[16:])

    with pytest.raises(CorruptData):
        archives.verify(tmp_path, manifest)


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    manifest = write(tmp_path)
    month = tmp_path / "things" / "2026-09"
    packed.draft(month).write_bytes(b"half")
    (month / "7-9-abc.json").write_bytes(b"the manifest comes first")

    assert archives.remove_unfinished(tmp_path, "things") == 2
    assert archives.remove_unfinished(tmp_path, "nothing of these") == 0
    assert archives.listed(tmp_path) == [manifest]
    archives.verify(tmp_path, manifest)


def test_lines_that_have_lost_their_manifest_are_told_and_never_removed(tmp_path):
    manifest = write(tmp_path)
    (tmp_path / f"{manifest.name}.json").unlink()

    assert archives.remove_unfinished(tmp_path, "things") == 0
    assert [str(error).rpartition("/")[2] for error in archives.damaged(tmp_path)] == [
        f"{manifest.name.rpartition('/')[2]}.jsonl.gz has no manifest."
    ]
    assert write(tmp_path) == manifest, "the same rows are whole again"


def test_a_failure_on_the_way_leaves_nothing(tmp_path):
    def lines():
        yield LINES[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(tmp_path, lines())
    assert files(tmp_path) == []


def test_a_disk_that_does_not_give_back_what_it_took_is_told(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packed, "look", lambda path: packed.Packed(1, "", 1, 1))

    with pytest.raises(LimitExceeded, match="read back"):
        write(tmp_path)
    assert files(tmp_path) == []


def test_only_archives_in_which_an_id_may_stand_are_beside_it(tmp_path):
    first, second = write(tmp_path), write(tmp_path, [b"[5]"], 5, 9)

    assert archives.beside(tmp_path, "things", "2026-09", 4, 4) == []
    assert archives.beside(tmp_path, "things", "2026-09", 2, 4) == [first]
    assert archives.beside(tmp_path, "things", "2026-09", 9, 99) == [second]
    assert archives.beside(tmp_path, "things", "2026-10", 1, 9) == []


@pytest.mark.parametrize("name", ["", "things", "things/2026-09/1-1-x", "../things/2026-09", "a/../b", "/etc/x/y"])
def test_a_name_that_is_no_archives_is_not_found(tmp_path, name: str):
    with pytest.raises(NotFound):
        archives.get(tmp_path, name)


def test_a_manifest_that_cannot_be_read_is_told_and_hides_no_other(tmp_path):
    broken, whole = write(tmp_path), write(tmp_path, [b"[5]"], 5, 9)
    (tmp_path / f"{broken.name}.json").write_text("{}")
    (tmp_path / "things" / "2026-09" / "notes.json").write_text("a person's own")

    assert archives.listed(tmp_path) == [whole]
    assert sorted(str(error).split(".json")[0].rpartition("/")[2] for error in archives.damaged(tmp_path)) == [
        broken.name.rpartition("/")[2],
        "notes",
    ]
    assert archives.beside(tmp_path, "things", "2026-09", 1, 9) == [whole]
    with pytest.raises(CorruptData):
        archives.get(tmp_path, broken.name)


def test_rows_whose_manifest_cannot_be_read_are_an_archive_again_once_they_are_written_anew(tmp_path):
    manifest = write(tmp_path)
    (tmp_path / f"{manifest.name}.json").write_text("{}")

    assert write(tmp_path) == manifest
    assert archives.get(tmp_path, manifest.name) == manifest
