"""The outbox: what is posted is told once, whatever is killed, damaged or posted twice in between."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.errors import InvalidInput
from app.notify import outbox
from app.notify.outbox import SENT_KEPT, Notice

AT = datetime(2026, 11, 21, 5, 24, 11, tzinfo=UTC)


def a_notice(notice_id: str = "one", **changes: Any) -> Notice:
    return Notice(
        **({"id": notice_id, "at": AT, "level": "warning", "subject": "broker", "text": "It ends."} | changes)
    )


def test_what_is_posted_waits(tmp_path: Path):
    notice = a_notice(text='Ünïcode, "quotes",\nlines and 🚢')
    outbox.post(tmp_path, notice)

    assert outbox.pending(tmp_path) == [notice]


def test_half_a_letter_in_a_text_costs_that_letter(tmp_path: Path):
    outbox.post(tmp_path, a_notice(text="It is \ud83d."))

    assert [notice.text for notice in outbox.pending(tmp_path)] == ["It is ?."]


def test_what_a_notice_resolves_is_kept_and_must_be_a_level(tmp_path: Path):
    notice = a_notice(level="info", resolves="critical")
    outbox.post(tmp_path, notice)

    assert outbox.pending(tmp_path) == [notice]
    with pytest.raises(InvalidInput):
        a_notice(resolves="loud")


def test_an_empty_outbox_has_nothing(tmp_path: Path):
    assert outbox.pending(tmp_path) == []
    assert outbox.recent(tmp_path, 10) == []


def test_the_oldest_waits_first(tmp_path: Path):
    for number in (3, 1, 2):
        outbox.post(tmp_path, a_notice(f"n{number}", at=AT + timedelta(seconds=number)))

    assert [notice.id for notice in outbox.pending(tmp_path)] == ["n1", "n2", "n3"]


def test_what_was_sent_no_longer_waits_and_can_be_looked_up(tmp_path: Path):
    outbox.post(tmp_path, a_notice("told"))
    outbox.post(tmp_path, a_notice("waiting", at=AT + timedelta(seconds=1)))
    outbox.sent(tmp_path, "told")

    assert [notice.id for notice in outbox.pending(tmp_path)] == ["waiting"]
    assert [notice.id for notice in outbox.recent(tmp_path, 10)] == ["waiting", "told"]
    assert [notice.id for notice in outbox.recent(tmp_path, 1)] == ["waiting"]


def test_the_same_id_posted_twice_is_one_notice(tmp_path: Path):
    outbox.post(tmp_path, a_notice("same", text="first"))
    outbox.post(tmp_path, a_notice("same", text="second"))

    assert [notice.text for notice in outbox.pending(tmp_path)] == ["first"]


def test_the_same_id_posted_after_it_was_sent_is_not_told_again(tmp_path: Path):
    outbox.post(tmp_path, a_notice("same"))
    outbox.sent(tmp_path, "same")
    outbox.post(tmp_path, a_notice("same"))

    assert outbox.pending(tmp_path) == []


def test_marking_twice_or_what_never_was_is_no_error(tmp_path: Path):
    outbox.post(tmp_path, a_notice("told"))
    outbox.sent(tmp_path, "told")
    outbox.sent(tmp_path, "told")
    outbox.sent(tmp_path, "never-was")

    assert [notice.id for notice in outbox.recent(tmp_path, 10)] == ["told"]


def test_only_the_newest_sent_ones_are_kept(tmp_path: Path):
    for number in range(SENT_KEPT + 5):
        outbox.post(tmp_path, a_notice(f"n{number:04}", at=AT + timedelta(seconds=number)))
        outbox.sent(tmp_path, f"n{number:04}")
    kept = outbox.recent(tmp_path, 10_000)

    assert len(kept) == SENT_KEPT
    assert kept[0].id == f"n{SENT_KEPT + 4:04}"
    assert kept[-1].id == "n0005"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b'{"id": "x"}',
        b'{"id": "x", "at": "yesterday", "level": "info", "subject": "s", "text": "t"}',
        b'{"id": "x", "at": "2026-11-21T05:24:11", "level": "info", "subject": "s", "text": "t"}',
        b'{"id": "x", "at": "2026-11-21T05:24:11+00:00", "level": "loud", "subject": "s", "text": "t"}',
        b'{"id": "../x", "at": "2026-11-21T05:24:11+00:00", "level": "info", "subject": "s", "text": "t"}',
        b'{"id": 1, "at": 2, "level": 3, "subject": 4, "text": 5}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_set_aside_and_holds_up_nothing(tmp_path: Path, content: bytes):
    outbox.post(tmp_path, a_notice("good"))
    (tmp_path / "pending" / "bad.json").write_bytes(content)
    first, second = outbox.pending(tmp_path), outbox.pending(tmp_path)

    assert [notice.id for notice in first] == [notice.id for notice in second] == ["good"]
    assert (tmp_path / "damaged" / "bad.json").read_bytes() == content
    assert not (tmp_path / "pending" / "bad.json").exists()


def test_what_is_no_file_holds_up_nothing(tmp_path: Path):
    outbox.post(tmp_path, a_notice("good"))
    (tmp_path / "pending" / "folder.json").mkdir()
    (tmp_path / "pending" / "dangling.json").symlink_to("nowhere")

    assert [notice.id for notice in outbox.pending(tmp_path)] == ["good"]


def test_fields_that_a_later_version_adds_are_passed_over(tmp_path: Path):
    outbox.post(tmp_path, a_notice("good"))
    path = tmp_path / "pending" / "good.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "red"}))

    assert outbox.pending(tmp_path) == [a_notice("good")]


@pytest.mark.parametrize(
    "changes",
    [{"level": "loud"}, {"at": datetime(2026, 1, 1)}, {"id": ""}, {"id": "../etc"}, {"id": "a/b"}, {"id": "x" * 121}],  # noqa: DTZ001 - the point
)
def test_a_notice_that_could_not_be_stored_cannot_be_made(changes: dict[str, Any]):
    with pytest.raises(InvalidInput):
        a_notice(**changes)


def test_no_id_reaches_outside_the_outbox(tmp_path: Path):
    (tmp_path / "secret.json").write_text("{}")

    with pytest.raises(InvalidInput):
        outbox.sent(tmp_path / "notices", "../../secret")


def test_many_posters_at_once_lose_nothing(tmp_path: Path):
    def post_often(poster: int) -> None:
        for number in range(20):
            outbox.post(tmp_path, a_notice(f"own-{poster}-{number}"))
            outbox.post(tmp_path, a_notice(f"shared-{number}"))

    threads = [threading.Thread(target=post_often, args=(poster,)) for poster in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(outbox.pending(tmp_path)) == 5 * 20 + 20


def test_a_poster_killed_at_any_moment_leaves_whole_notices_only(tmp_path: Path):
    script = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path; from app.notify import outbox\n"
        "for n in range(10**9):\n"
        "    notice = outbox.Notice(f'n{n}', datetime(2026, 1, 1, tzinfo=UTC), 'info', 's', 'x' * 5_000_000)\n"
        "    outbox.post(Path(sys.argv[1]), notice); print(n, flush=True)\n"
    )
    for turn in range(12):
        folder = tmp_path / str(turn)
        with subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True) as poster:
            assert poster.stdout is not None
            poster.stdout.readline()
            time.sleep(turn * 0.004)  # somewhere within the next post
            poster.kill()
            said = 1 + len(poster.stdout.read().splitlines())
        waiting = outbox.pending(folder)

        assert len(waiting) >= said
        assert all(notice.text == "x" * 5_000_000 for notice in waiting)
        assert not (folder / "damaged").exists()


def test_the_outbox_needs_nothing_but_the_standard_library():
    script = (
        "import sys; import app.notify.outbox\n"
        "foreign = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(name for name in foreign if not name.startswith(('__', 'app', '_'))))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": "."},
    )

    assert done.stdout.strip() == "[]"


def test_a_notice_keeps_its_group_and_one_of_an_older_flotilla_has_none(tmp_path: Path):
    outbox.post(tmp_path, Notice("one", AT, "info", "broker", "It ends.", group="process-down"))
    old = '{"id": "old", "at": "2026-11-21T05:00:00+00:00", "level": "info", "subject": "broker", "text": "It ends."}'
    (tmp_path / "pending" / "old.json").write_text(old, encoding="utf-8")

    assert {notice.id: notice.group for notice in outbox.pending(tmp_path)} == {"one": "process-down", "old": ""}


def test_what_is_not_asked_for_is_not_read(tmp_path: Path):
    for name in ("one", "two"):
        outbox.post(tmp_path, Notice(name, AT, "info", "broker", "It ends."))

    assert [notice.id for notice in outbox.Waiting(tmp_path).notices(without=frozenset({"one"}))] == ["two"]


def ids_of(waiting: outbox.Waiting, *without: str) -> list[str]:
    return [notice.id for notice in waiting.notices(without=frozenset(without))]


def test_who_asks_again_and_again_sees_what_is_posted_and_sent_meanwhile(tmp_path: Path):
    waiting = outbox.Waiting(tmp_path)
    seen = [ids_of(waiting)]
    for number in range(3):
        outbox.post(tmp_path, a_notice(f"n{number}", at=AT + timedelta(seconds=number)))
        seen.append(ids_of(waiting))
    outbox.sent(tmp_path, "n1")
    seen.append(ids_of(waiting))
    waiting.sent("n0")
    seen.append(ids_of(waiting))

    assert seen == [[], ["n0"], ["n0", "n1"], ["n0", "n1", "n2"], ["n0", "n2"], ["n2"]]


def test_what_is_posted_in_the_moment_of_a_look_is_seen_by_the_next_one(tmp_path: Path):
    waiting = outbox.Waiting(tmp_path)
    outbox.post(tmp_path, a_notice("one"))
    ids_of(waiting)
    changed_ns = (tmp_path / "pending").stat().st_mtime_ns
    outbox.post(tmp_path, a_notice("two"))
    os.utime(tmp_path / "pending", ns=(changed_ns, changed_ns))  # the folder's time is too coarse to tell

    assert ids_of(waiting) == ["one", "two"]


def test_a_notice_that_waits_is_read_once_and_an_unchanged_folder_is_not_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for number in range(9):
        outbox.post(tmp_path, a_notice(f"n{number}"))
    read, listed = [], []
    parse, files = outbox._parse, outbox._files
    monkeypatch.setattr(outbox, "_parse", lambda text: read.append(text) or parse(text))
    monkeypatch.setattr(outbox, "_files", lambda folder: listed.append(folder) or files(folder))
    waiting = outbox.Waiting(tmp_path)
    for _ in range(50):
        ids_of(waiting, "n0")

    before = len(read), len(listed)
    outbox.post(tmp_path, a_notice("another"))
    ids_of(waiting, "n0")

    assert (before, len(read)) == ((8, 2), 9)


def test_a_damaged_file_is_set_aside_also_by_who_asks_again_and_again(tmp_path: Path):
    outbox.post(tmp_path, a_notice("whole"))
    (tmp_path / "pending" / "torn.json").write_text("{", encoding="utf-8")
    waiting = outbox.Waiting(tmp_path)

    assert [ids_of(waiting), ids_of(waiting)] == [["whole"], ["whole"]]
    assert (tmp_path / "damaged" / "torn.json").exists()


def test_what_one_could_not_read_just_now_is_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    outbox.post(tmp_path, a_notice("one"))
    waiting = outbox.Waiting(tmp_path)

    def fails(*_anything: object, **_words: object) -> str:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", fails)
        during = [ids_of(waiting) for _ in range(3)]

    assert (during, ids_of(waiting)) == ([[]] * 3, ["one"])
