"""Answer what a person asks in the one chat that may command: /status /ps /positions /profit /alerts /ack /stop /help.

A command is done at most once: where it stands in the list is stored before it is done, so that a kill in between loses it
instead of doing it again. Other chats get no answer at all.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from app.errors import FlotillaError, RateLimited, Unavailable
from app.host.fleet_report import ProcessReport
from app.host.own_api import OwnApi
from app.host.probes import HostSample
from app.notify import outbox
from app.notify.notifier import cut
from app.notify.telegram import TelegramNotifier, Update
from app.usecases.watch_alerts import AlertWatch

CONFIRM_S = 60.0
TOO_OLD_S = 300.0
_MOST_LINES = 40
_TRIES = 5
_LONGEST_PAUSE_S = 10.0
_BY = "Telegram"
_OF_THE_MARKET = ("status", "positions", "profit")
_log = logging.getLogger(__name__)

HELP = """/status  how things are, in a few lines
/ps  every process
/positions  open paper trades
/profit  what closed paper trades amount to
/alerts  what fires
/ack  I know of all of them; /ack NAME of one
/stop  stop the processes that collect, judge and trade (asks first)
/help  this"""


class Commands:
    """What each command answers. Whatever is away is said to be away; the rest is answered."""

    def __init__(
        self,
        alerts: AlertWatch,
        api: OwnApi,
        processes: Callable[[datetime], Sequence[ProcessReport]],
        machine: Callable[[], HostSample],
        *,
        simulated: bool,
    ) -> None:
        self._alerts, self._api, self._simulated = alerts, api, simulated
        self._processes, self._machine = processes, machine
        self._stop_asked_at: datetime | None = None

    def answer(self, text: str, now: datetime) -> str | None:
        """The answer; None to what is no command."""
        found = re.match(r"/([A-Za-z]+)(?:@\w+)?(?:\s+(.*))?$", text.strip(), re.DOTALL)
        if found is None:
            return None
        name, argument = found[1].lower(), (found[2] or "").strip()
        if name != "stop":
            self._stop_asked_at = None  # a confirmation is the very next word
        try:
            world = "\n(simulated market)" if self._simulated and name in _OF_THE_MARKET else ""
            return self._answers(name, argument, now) + world
        except FlotillaError as error:
            return f"{error} {error.cure}"
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            _log.warning("an answer of the API was not understood: %r", error)
            return "The API answered something that I do not understand. See: flotilla logs monitor"

    def _answers(self, name: str, argument: str, now: datetime) -> str:
        match name:
            case "status":
                return self._status(now)
            case "ps":
                return "\n".join(_process(report) for report in self._processes(now)) or "There are no processes."
            case "positions":
                return _positions(self._api.ask("GET", "/api/v1/trades/active"))
            case "profit":
                return _profit(self._api.ask("GET", "/api/v1/strategies/statistics"))
            case "alerts":
                return self._firing()
            case "ack":
                return self._acknowledge(argument)
            case "stop":
                return self._stop(now)
            case "help" | "start":
                return HELP
        return f"I do not know /{name[:20]}.\n{HELP}"

    def _status(self, now: datetime) -> str:
        machine = self._machine()
        cpu = "?" if machine.cpu_percent is None else f"{machine.cpu_percent:.0f}"
        lines = [f"CPU {cpu} %, memory {machine.memory_percent:.0f} %, disk {machine.disk_percent:.0f} %"]
        try:
            reports = self._processes(now)
            wanted = [report for report in reports if report.state != "STOPPED"]
            unwell = [report.name for report in wanted if not report.fresh]
            lines.append(f"{len(wanted) - len(unwell)} of {len(wanted)} processes are well{_listed(': not ', unwell)}")
            lines += [f"stopped: {', '.join(stopped)}"] if (stopped := _stopped(reports)) else []
        except FlotillaError as error:
            lines.append(f"{error} {error.cure}")
        firing = self._alerts.firing()
        lines.append(f"firing: {', '.join(one.name for one in firing)}" if firing else "nothing fires")
        return "\n".join(lines)

    def _firing(self) -> str:
        lines = []
        for one in self._alerts.firing():
            known = f" (known to {one.acknowledged_by})" if one.acknowledged_by else ""
            lines.append(f"{one.severity.upper()} {one.name} since {one.since:%m-%d %H:%M} UTC{known}: {one.text}")
        return _shortened(lines) or "Nothing fires."

    def _acknowledge(self, name: str) -> str:
        known = self._alerts.acknowledge(name or None, _BY)
        if known:
            return f"Acknowledged: {', '.join(known)}. They stay silent until they are over."
        return f"No alert {name[:60]!r} fires; /alerts lists them." if name else "Nothing fires."

    def _stop(self, now: datetime) -> str:
        asked_at, self._stop_asked_at = self._stop_asked_at, now
        if asked_at is None or not timedelta() <= now - asked_at <= timedelta(seconds=CONFIRM_S):
            return (
                "This stops the processes that collect, judge and trade on paper; the API and the alerts go on. "
                f"Send /stop again within {CONFIRM_S:g} s to do it."
            )
        self._stop_asked_at = None
        return str(self._api.ask("POST", "/api/system/stop")["message"])


class CommandDesk:
    """Hears commands and sends the answers. Its place in the list of what was written is a file."""

    def __init__(
        self,
        telegram: TelegramNotifier,
        commands: Commands,
        file: Path,
        *,
        clock: Callable[[], datetime],
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._telegram, self._commands, self._file = telegram, commands, file
        self._clock, self._pause = clock, pause
        self._offset = _read(file)

    def turn(self, *, wait_s: int) -> int:
        """Wait for what is written, and answer it; how many commands were done. Raises what TelegramNotifier raises,
        and OSError when its place cannot be stored: then nothing is done, for it might be done again.
        """
        done = 0
        for update in self._telegram.updates(self._offset, wait_s=wait_s):
            if self._offset is not None and update.number < self._offset:
                continue  # done before; whoever plays Telegram forgot the offset
            outbox.write_file(self._file, f"{update.number + 1}\n")
            self._offset = update.number + 1
            if self._telegram.is_mine(update) and (answer := self._answer(update)) is not None:
                done += 1
                self._send(cut(answer, self._telegram.longest)[0])
        return done

    def _answer(self, update: Update) -> str | None:
        now = self._clock()
        age_s = now.timestamp() - update.written_at_s
        if age_s > TOO_OLD_S and update.text.startswith("/"):
            return f"I was away for a while: {update.text[:60]} is {age_s / 60:.0f} minutes old. Send it again if it still holds."
        return self._commands.answer(update.text, now)

    def _send(self, text: str) -> None:
        """An answer is worth a few tries and no more: whoever asked can ask again."""
        for _ in range(_TRIES):
            try:
                self._telegram.send(text, "info")
            except RateLimited as limit:
                if limit.retry_after_s > _LONGEST_PAUSE_S:
                    break
                self._pause(limit.retry_after_s)
            except Unavailable:
                self._pause(1.0)
            except FlotillaError as error:
                _log.warning("an answer cannot be sent: %s %s", error, error.cure)
                return
            else:
                return
        _log.warning("an answer was given up: Telegram did not take it")


def _read(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # what waits is then heard again, and is too old to be done unless it is new
        _log.warning("the place among the commands is lost: %s", error)
        return None


def _process(report: ProcessReport) -> str:
    if report.state != "RUNNING":
        return f"{report.name}: {report.state}"
    memory = "?" if report.memory_mb is None else f"{report.memory_mb:.0f}"
    beat = "no work yet" if report.heartbeat_age_s is None else f"worked {report.heartbeat_age_s:.0f} s ago"
    unwell = "" if report.fresh else " (!)"
    return f"{report.name}: {memory} of {report.ceiling_mb} MB, {beat}, {report.restarts or 0} restarts{unwell}"


def _positions(data: dict[str, Any]) -> str:
    lines = []
    for one in data["trades"]:
        trade = one["trade"]
        floating = "?" if one["floating_pnl"] is None else f"{float(one['floating_pnl']):+.2f}"
        price = "?" if one["price"] is None else f"{one['price']:g}"
        lines.append(
            f"{trade['symbol']} {trade['strategy']} {trade['direction']}: {floating} at {price} "
            f"(in at {trade['entry_price']}, stop {trade['stop_loss']}, target {trade['take_profit']})"
        )
    lines += [f"{one['symbol']} {one['strategy']} {one['direction']}: an order waits" for one in data["orders"]]
    return _shortened(lines) or "No paper trade is open."


def _profit(data: dict[str, Any]) -> str:
    lines = []
    for one in data["strategies"]:
        figures = one["figures"]
        rate = "" if figures["win_rate"] is None else f", {figures['win_rate']} % won"
        worst = "" if figures["max_drawdown"] is None else f", drawdown {figures['max_drawdown']} %"
        lines.append(
            f"{one['strategy']}: {float(figures['total_pnl'] or 0):+.2f} by {figures['total_trades']} paper trades{rate}{worst}, "
            f"equity {float(one['equity']):.2f}"
        )
    return _shortened(lines) or "There are no paper accounts yet."


def _shortened(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    return "\n".join([*lines[:_MOST_LINES], *more])


def _stopped(reports: Sequence[ProcessReport]) -> list[str]:
    return [report.name for report in reports if report.state == "STOPPED"]


def _listed(words: str, names: Sequence[str]) -> str:
    return f"{words}{', '.join(names)}" if names else ""
