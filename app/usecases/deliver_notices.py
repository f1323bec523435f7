"""Deliver what waits in the outbox: the gravest first, what belongs together in one message.

How the attempts went is kept in a file beside the outbox, so that a restart neither forgets a back-off nor tells twice.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.errors import InvalidInput, Misconfigured, RateLimited, Unavailable
from app.notify import outbox
from app.notify.notifier import Notifier, cut, length
from app.notify.outbox import LEVELS, Level, Notice

FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 300.0
LINES_IN_FULL = 40  # of what is not critical; the rest of a storm is told as a number, and written to the log
MOST_WAITING = 2_000  # of what is not critical, while nobody can be reached; the oldest go to the log
_LONGEST_TEXT = 1_000  # of what is not critical
_LONGEST_SUBJECT = 100
_SUBJECTS_NAMED = 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one round came to: messages that went out, and notices that they told of."""

    messages: int = 0
    notices: int = 0


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is remembered of earlier attempts.

    ``told`` are notices that a person has but that may still lie among the waiting ones; ``pieces`` says how many pieces
    of a long one were delivered.
    """

    failures: int = 0
    waits_from: str = ""
    waits_until: str = ""
    told: tuple[str, ...] = ()
    pieces: dict[str, int] = field(default_factory=dict)

    def must_wait(self, now: datetime) -> bool:
        """Whether it is too early to try. A clock that was set back must not silence us."""
        if not self.waits_until:
            return False
        return datetime.fromisoformat(self.waits_from) <= now < datetime.fromisoformat(self.waits_until)

    def wait(self, wait_s: float, now: datetime) -> "Attempts":
        """Try again after so many seconds."""
        until = now + timedelta(seconds=wait_s)
        return replace(self, waits_from=now.isoformat(), waits_until=until.isoformat())

    def failed(self, now: datetime) -> "Attempts":
        """Try again later, and later each time."""
        wait_s = min(FIRST_WAIT_S * 2 ** min(self.failures, 10), LONGEST_WAIT_S)
        return replace(self.wait(wait_s, now), failures=self.failures + 1)

    def delivered(self, lines: Sequence["Line"]) -> "Attempts":
        """A message with these lines went out."""
        ids = tuple(notice.id for line in lines for notice in line.tells)
        begun = Counter(self.pieces) + Counter(line.piece_of for line in lines if line.piece_of)
        pieces = {notice_id: count for notice_id, count in begun.items() if notice_id not in ids}
        return Attempts(told=(*self.told, *ids), pieces=pieces)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a message: the notices that are told once it went out, and those of them that only the log has in full.

    A piece of a long notice tells nothing before the last piece.
    """

    text: str
    level: Level
    tells: tuple[Notice, ...] = ()
    for_log: tuple[Notice, ...] = ()
    piece_of: str = ""


class NoticeDelivery:
    """Takes notices from one outbox to one person. ``log`` gets what the person cannot be told in full."""

    def __init__(self, directory: Path, notifier: Notifier, log: Notifier, *, sender: str) -> None:
        self._directory, self._notifier, self._log = directory, notifier, log
        self._sender = sender
        self._file = directory / "delivery.json"
        self._attempts = _read(self._file)

    def deliver(self, now: datetime) -> Delivered:
        """Send what waits, as far as the notifier takes it now. To be called every second or so."""
        if self._attempts.must_wait(now):
            return Delivered()
        self._mark_told()
        told = set(self._attempts.told)
        waiting = self._bounded([notice for notice in outbox.pending(self._directory) if notice.id not in told])
        done = Delivered()
        for lines in _messages(waiting, self._sender, self._notifier.longest, self._attempts.pieces):
            if not self._send(lines, now):
                break
            done = Delivered(done.messages + 1, done.notices + sum(len(line.tells) for line in lines))
            self._mark_told()
        return done

    def _send(self, lines: Sequence[Line], now: datetime) -> bool:
        text = _text(self._sender, lines)
        level = max((line.level for line in lines), key=LEVELS.index)
        try:
            self._notifier.send(text, level)
        except InvalidInput as error:
            _log.error("A notice goes to the log: %s %s", error, error.cure)
            self._log.send(text, level)
        except RateLimited as limit:
            self._remember(self._attempts.wait(limit.retry_after_s, now))
            return False
        except (Unavailable, Misconfigured) as error:
            # Nobody else can be told, so what is refused for ever waits too: a person may yet correct the settings.
            _log.warning("Notices wait: %s %s", error, error.cure)
            self._remember(self._attempts.failed(now))
            return False
        self._remember(self._attempts.delivered(lines))
        for notice in (notice for line in lines for notice in line.for_log):
            self._log.send(_one_line([notice]), notice.level)
        return True

    def _mark_told(self) -> None:
        """Take out of the waiting ones what a person has; whatever cannot be moved now is moved later."""
        left = []
        for notice_id in self._attempts.told:
            try:
                outbox.sent(self._directory, notice_id)
            except OSError as error:
                _log.warning("A notice that was delivered cannot be put away: %s", error)
                left.append(notice_id)
        self._attempts = replace(self._attempts, told=tuple(left))

    def _bounded(self, waiting: list[Notice]) -> list[Notice]:
        """Without those that have waited too long in too large a crowd."""
        spare = [notice for notice in waiting if notice.level != "critical"][:-MOST_WAITING]
        if not spare:
            return waiting
        for notice in spare:
            self._log.send(_one_line([notice]), notice.level)
        gone = tuple(notice.id for notice in spare)
        self._remember(replace(self._attempts, told=(*self._attempts.told, *gone)))
        self._mark_told()
        return [notice for notice in waiting if notice.id not in set(gone)]

    def _remember(self, attempts: Attempts) -> None:
        """Keep the state in memory, and in the file if there is room for one: a full disk must not silence us."""
        self._attempts = attempts
        try:
            outbox.write_file(self._file, json.dumps(asdict(attempts)))
        except OSError as error:
            _log.warning("The state of the delivery cannot be written: %s", error)


def _read(file: Path) -> Attempts:
    """A missing or damaged file means that nothing was attempted: better told twice than never."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        attempts = Attempts(
            failures=int(kept["failures"]),
            waits_from=str(kept["waits_from"]),
            waits_until=str(kept["waits_until"]),
            told=tuple(map(str, kept["told"])),
            pieces={str(notice_id): int(count) for notice_id, count in kept["pieces"].items()},
        )
        attempts.must_wait(datetime.fromtimestamp(0, UTC))  # its times can be read
    except FileNotFoundError:
        return Attempts()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("The state of the delivery was damaged and begins anew: %r", error)
        return Attempts()
    return attempts


def _messages(waiting: Iterable[Notice], sender: str, longest: int, pieces: dict[str, int]) -> Iterator[list[Line]]:
    """Pack the lines into as few messages as possible."""
    packed: list[Line] = []
    room = longest - length(_text(sender, [Line("", "info")]))
    for line in _lines(waiting, room, pieces):
        if packed and length(_text(sender, [*packed, line])) > longest:
            yield packed
            packed = []
        packed.append(line)
    if packed:
        yield packed


def _lines(waiting: Iterable[Notice], room: int, pieces: dict[str, int]) -> Iterator[Line]:
    """Critical lines, whole; then the number of what is left out of a storm; then the other lines."""
    kinds: dict[tuple[Level, str, str], list[Notice]] = {}
    for notice in waiting:
        kinds.setdefault((notice.level, notice.subject, notice.text), []).append(notice)
    begun: dict[str, datetime] = {}  # notices of one subject stay together, the oldest subject first
    for same in kinds.values():
        begun.setdefault(same[0].subject, same[0].at)
    groups = sorted(
        kinds.values(),
        key=lambda same: (-LEVELS.index(same[0].level), begun[same[0].subject], same[0].subject, same[0].at),
    )
    for same in groups:
        if same[0].level == "critical":
            yield from _whole(same, room, pieces)
    others = [same for same in groups if same[0].level != "critical"]
    # groups are sorted by level, so that what is cut off is the least grave
    if left_out := [notice for same in others[LINES_IN_FULL:] for notice in same]:
        yield _summary(left_out, room)
    for same in others[:LINES_IN_FULL]:
        yield _shortened(same, room)


def _whole(same: list[Notice], room: int, pieces: dict[str, int]) -> Iterator[Line]:
    text = _one_line(same)
    if length(text) <= room:
        yield Line(text, "critical", tells=tuple(same))
        return
    parts = cut(text, room - 20)
    for number, part in enumerate(parts, 1):
        if number > pieces.get(same[0].id, 0):
            last = number == len(parts)
            yield Line(
                f"{part} ({number}/{len(parts)})", "critical", tells=tuple(same) if last else (), piece_of=same[0].id
            )


def _shortened(same: list[Notice], room: int) -> Line:
    notice = same[0]
    text = _one_line(same)
    if length(notice.text) <= _LONGEST_TEXT and length(text) <= room:
        return Line(text, notice.level, tells=tuple(same))
    begin = cut(notice.text, min(_LONGEST_TEXT, room // 2))[0]
    short = _one_line([replace(one, text=f"{begin} … (the rest is in the log)") for one in same])
    return Line(cut(short, room)[0], notice.level, tells=tuple(same), for_log=(notice,))


def _summary(left_out: list[Notice], room: int) -> Line:
    about = Counter(_subject(notice) for notice in left_out)
    named = ", ".join(f"{subject} {count}" for subject, count in about.most_common(_SUBJECTS_NAMED))
    others = f" and {len(about) - _SUBJECTS_NAMED} other subjects" if len(about) > _SUBJECTS_NAMED else ""
    text = f"{len(left_out)} more that are not critical are in the log, about: {named}{others}"
    level = max((notice.level for notice in left_out), key=LEVELS.index)
    return Line(cut(text, room)[0], level, tells=tuple(left_out), for_log=tuple(left_out))


def _one_line(same: Sequence[Notice]) -> str:
    """What was noticed, how often and when."""
    first, last = same[0], same[-1]
    when = f"{first.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if len(same) > 1:
        when = f"{len(same)} times, {when} to {last.at.astimezone(UTC):%H:%M:%S} UTC"
    return f"{first.level.upper()} {_subject(first)}: {first.text} ({when})"


def _subject(notice: Notice) -> str:
    return cut(notice.subject, _LONGEST_SUBJECT)[0]


def _text(sender: str, lines: Iterable[Line]) -> str:
    return "\n".join([sender, *(line.text for line in lines)])
