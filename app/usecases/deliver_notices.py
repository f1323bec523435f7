"""Deliver what waits in the outbox: the gravest first, what belongs together in one message, and never too many of them.

How the attempts went is kept in a file beside the outbox, so that a restart neither forgets a back-off, nor tells twice, nor
sends faster. Each way to a person has a delivery and a file of its own: one that is away delays none of the others.
"""

import json
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.domain.alerts.quiet import never
from app.errors import InvalidInput, Misconfigured, RateLimited, Unavailable
from app.notify import outbox
from app.notify.notifier import Notifier, cut, length
from app.notify.outbox import LEVELS, Level, Notice

FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 300.0
LINES_IN_FULL = 40  # of what is not critical; the rest of a storm is told as a number, and written to the log
MOST_WAITING = 2_000  # of what is not critical, while nobody can be reached; the oldest go to the log
MINUTE_S = 60.0
_LONGEST_TEXT = 1_000  # of what is not critical
_LONGEST_SUBJECT = 100
_SUBJECTS_NAMED = 10
_HEAD = 220  # what a line says besides its texts
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one round came to: messages that went out, and notices that they told of."""

    messages: int = 0
    notices: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """What one way to a person is used for: from which level on, how often, and when only for what is critical."""

    least: Level = "info"
    per_minute: int = 20
    quiet: Callable[[datetime], bool] = never

    def wants(self, notice: Notice) -> bool:
        """Whether this is grave enough for it, or the end of what was."""
        return LEVELS.index(notice.resolves or notice.level) >= LEVELS.index(self.least)


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is remembered of earlier attempts.

    ``told`` are notices that a person has but that may still lie among the waiting ones; ``pieces`` says how many pieces
    of a long one were delivered; ``sent_at`` are the messages of the last minute, ``groups`` what they were about.
    """

    failures: int = 0
    waits_from: str = ""
    waits_until: str = ""
    told: tuple[str, ...] = ()
    pieces: dict[str, int] = field(default_factory=dict)
    sent_at: tuple[str, ...] = ()
    groups: dict[str, str] = field(default_factory=dict)

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

    def sent_lately(self, now: datetime) -> int:
        """Messages within the minute before now."""
        return sum(_is_of_the_minute(at, now) for at in self.sent_at)

    def must_gather(self, notice: Notice, now: datetime) -> bool:
        """Whether its group was told within the minute: then it waits for others, unless it is critical."""
        at = self.groups.get(_group_of(notice)) if notice.group and notice.level != "critical" else None
        return at is not None and _is_of_the_minute(at, now)

    def delivered(self, lines: Sequence["Line"], now: datetime) -> "Attempts":
        """A message with these lines went out."""
        told = [notice for line in lines for notice in line.tells]
        ids = tuple(notice.id for notice in told)
        groups = self.groups | {_group_of(notice): now.isoformat() for notice in told if notice.group}
        begun = Counter(self.pieces) + Counter(line.piece_of for line in lines if line.piece_of)
        pieces = {notice_id: count for notice_id, count in begun.items() if notice_id not in ids}
        return Attempts(
            told=(*self.told, *ids),
            pieces=pieces,
            sent_at=(*(at for at in self.sent_at if _is_of_the_minute(at, now)), now.isoformat()),
            groups={group: at for group, at in groups.items() if _is_of_the_minute(at, now)},
        )


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
    """Takes notices from one outbox to one person by one way. ``log`` gets what the person cannot be told in full.

    Of several ways, each has a ``name``; a notice is put away once all of them that stand ``beside`` it have told it.
    """

    def __init__(
        self,
        directory: Path,
        notifier: Notifier,
        log: Notifier,
        *,
        sender: str,
        name: str = "",
        policy: Policy | None = None,
    ) -> None:
        self._waiting = outbox.Waiting(directory)
        self._notifier, self._log = notifier, log
        self._sender, self._policy = sender, policy or Policy()
        self._file = directory / (f"delivery-{name}.json" if name else "delivery.json")
        self._attempts = _read(self._file)
        self._others: tuple[NoticeDelivery, ...] = ()

    def stand_beside(self, others: Iterable["NoticeDelivery"]) -> None:
        """These tell the same notices by other ways."""
        self._others = tuple(other for other in others if other is not self)

    @property
    def told(self) -> frozenset[str]:
        """What was told this way and perhaps not yet by the others."""
        return frozenset(self._attempts.told)

    @property
    def failures(self) -> int:
        """Attempts in a row that failed."""
        return self._attempts.failures

    def deliver(self, now: datetime, go_on: Callable[[], bool] = lambda: True) -> Delivered:
        """Send what waits, as far as the notifier takes it now. To be called every second or so.

        After each message ``go_on`` is asked whether the turn goes on: to a slow notifier, ``now`` would become long ago.
        """
        if self._attempts.must_wait(now):
            return Delivered()
        self._mark_told()
        done = Delivered()
        if self._is_out_of_breath(now):
            return done
        waiting = self._bounded(self._wanted(self._waiting.notices(without=self.told)))
        due = self._due(waiting, now)
        for lines in _messages(due, self._sender, self._notifier.longest, self._attempts.pieces, self._policy.quiet):
            if self._is_out_of_breath(now) or not self._send(lines, now):
                break
            done = Delivered(done.messages + 1, done.notices + sum(len(line.tells) for line in lines))
            self._mark_told()
            if not go_on():
                break
        return done

    def _is_out_of_breath(self, now: datetime) -> bool:
        return self._attempts.sent_lately(now) >= self._policy.per_minute

    def _due(self, waiting: list[Notice], now: datetime) -> list[Notice]:
        """What is critical goes at once; the rest waits for the end of quiet hours, and for others of its group."""
        quiet = self._policy.quiet(now)
        return [
            notice
            for notice in waiting
            if notice.level == "critical" or not (quiet or self._attempts.must_gather(notice, now))
        ]

    def _wanted(self, waiting: list[Notice]) -> list[Notice]:
        """Without what this way is not for, which counts as told by it."""
        if self._policy.least == LEVELS[0]:
            return waiting
        unwanted = tuple(notice.id for notice in waiting if not self._policy.wants(notice))
        if not unwanted:
            return waiting
        self._remember(replace(self._attempts, told=(*self._attempts.told, *unwanted)))
        self._mark_told()
        return [notice for notice in waiting if self._policy.wants(notice)]

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
        except Exception as error:  # noqa: BLE001 - a mistake of one way must cost neither the others nor the monitor
            # Without its words, which may hold a secret of the settings.
            _log.error("Notices wait, for %s failed with %s.", type(self._notifier).__name__, _where(error))
            self._remember(self._attempts.failed(now))
            return False
        self._remember(self._attempts.delivered(lines, now))
        for notice in (notice for line in lines for notice in line.for_log):
            self._log.send(_one_line([notice]), notice.level)
        return True

    def _mark_told(self) -> None:
        """Take out of the waiting ones what a person has; whatever cannot be moved now is moved later."""
        if not self._attempts.told:
            return
        left, waiting = [], self._waiting.ids()
        by_all = frozenset.intersection(self.told, *(other.told for other in self._others))
        for notice_id in self._attempts.told:
            if notice_id not in by_all:
                if notice_id in waiting:
                    left.append(notice_id)
                continue
            try:
                self._waiting.sent(notice_id)
            except OSError as error:
                _log.warning("A notice that was delivered cannot be put away: %s", error)
                left.append(notice_id)
        if len(left) < len(self._attempts.told):
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


def _where(error: Exception) -> str:
    """The kind of an error that nobody expected, and the line that it came from."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {last.filename}:{last.lineno}"


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
            sent_at=tuple(map(str, kept.get("sent_at", ()))),  # an older Flotilla kept neither of these
            groups={str(group): str(at) for group, at in kept.get("groups", {}).items()},
        )
        long_ago = datetime.fromtimestamp(0, UTC)  # whether its times can be read
        attempts.must_wait(long_ago)
        _ = [_is_of_the_minute(at, long_ago) for at in (*attempts.sent_at, *attempts.groups.values())]
    except FileNotFoundError:
        return Attempts()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("The state of the delivery was damaged and begins anew: %r", error)
        return Attempts()
    return attempts


def _messages(
    waiting: Iterable[Notice], sender: str, longest: int, pieces: dict[str, int], quiet: Callable[[datetime], bool]
) -> Iterator[list[Line]]:
    """Pack the lines into as few messages as possible."""
    packed: list[Line] = []
    room = longest - length(_text(sender, [Line("", "info")]))
    for line in _lines(waiting, room, pieces, quiet):
        if packed and length(_text(sender, [*packed, line])) > longest:
            yield packed
            packed = []
        packed.append(line)
    if packed:
        yield packed


def _lines(
    waiting: Iterable[Notice], room: int, pieces: dict[str, int], quiet: Callable[[datetime], bool]
) -> Iterator[Line]:
    """Critical lines, whole; then the number of what is left out of a storm; then the other lines."""
    kinds = _gathered(waiting, room)
    begun: dict[str, datetime] = {}  # notices of one subject stay together, the oldest subject first
    for same in kinds:
        begun.setdefault(same[0].subject, same[0].at)
    groups = sorted(
        kinds,
        key=lambda same: (-LEVELS.index(same[0].level), begun[same[0].subject], same[0].subject, same[0].at),
    )
    for same in groups:
        if same[0].level == "critical":
            yield from _whole(same, room, pieces)
    others = [same for same in groups if same[0].level != "critical"]
    if held := sum(quiet(notice.at) for same in others for notice in same):
        yield Line(f"While it was quiet, {held} waited:", "info")
    # groups are sorted by level, so that what is cut off is the least grave
    if left_out := [notice for same in others[LINES_IN_FULL:] for notice in same]:
        yield _summary(left_out, room)
    for same in others[:LINES_IN_FULL]:
        yield _shortened(same, room)


def _gathered(waiting: Iterable[Notice], room: int) -> list[list[Notice]]:
    """What is one line each: the same said of the same, or what is of one group, level and minute and fits into a line."""
    kinds: list[list[Notice]] = []
    latest: dict[tuple[str, ...], list[Notice]] = {}
    said: dict[int, dict[str, int]] = {}  # what each line says, and how much of its room that takes
    for notice in waiting:
        key = (_group_of(notice),) if notice.group else (notice.level, notice.subject, notice.text)
        same, words = latest.get(key), _said(notice)
        most = room if notice.level == "critical" else min(room, _LONGEST_TEXT)
        if same is None or (notice.group and not _joins(notice, same[0], said[id(same)], most)):
            latest[key] = same = []
            kinds.append(same)
            said[id(same)] = {}
        said[id(same)][words] = length(words) + 12  # with its number
        same.append(notice)
    return kinds


def _joins(notice: Notice, first: Notice, said: dict[str, int], most: int) -> bool:
    words = _said(notice)
    if words not in said and _HEAD + sum(said.values()) + length(words) + 12 > most:
        return False  # a line that is cut into pieces must not change while they are on their way
    return (notice.at - first.at).total_seconds() < MINUTE_S


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
    return Line(
        cut(short, room)[0], notice.level, tells=tuple(same), for_log=tuple({_said(one): one for one in same}.values())
    )


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
    said = Counter(map(_said, same))
    if len(said) == 1:
        return f"{first.level.upper()} {_subject(first)}: {first.text} ({when})"
    listed = " ".join(words if count == 1 else f"{words} ({count} times)" for words, count in said.items())
    return f"{first.level.upper()} {cut(first.group, _LONGEST_SUBJECT)[0]}: {listed} ({when})"


def _said(notice: Notice) -> str:
    """A notice among others of its group: what it is about must stay known."""
    return notice.text if notice.subject in notice.text else f"{_subject(notice)}: {notice.text}"


def _group_of(notice: Notice) -> str:
    return f"{notice.level}/{notice.group}"


def _is_of_the_minute(at: str, now: datetime) -> bool:
    """Whether this was within the minute before now. What a clock that was set back calls the future was not."""
    return 0 <= (now - datetime.fromisoformat(at)).total_seconds() < MINUTE_S


def _subject(notice: Notice) -> str:
    return cut(notice.subject, _LONGEST_SUBJECT)[0]


def _text(sender: str, lines: Iterable[Line]) -> str:
    return "\n".join([sender, *(line.text for line in lines)])
