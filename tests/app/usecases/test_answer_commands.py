"""Commands at the wire: a played Telegram, a played API on loopback, and a desk that can be killed and started again."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.routes import statistics, system, trades
from app.domain.alerts.rules import Rule
from app.errors import Unavailable
from app.host.fleet_report import ProcessReport
from app.host.own_api import OwnApi
from app.host.probes import HostSample
from app.notify.telegram import TelegramNotifier
from app.usecases.answer_commands import CommandDesk, Commands
from app.usecases.watch_alerts import AlertWatch
from tests.builders import NOW
from tests.telegram import TOKEN, PlayedTelegram, played_telegram

DOWN = Rule("process-down", "process_down", 0, "critical", 300, "{subject} does not run.", "Look.")
HOST = HostSample(12.5, 500, 1000, 50.0, 70.0, 3000, 0.5, 1.0)


def example(routes: Any, path: str) -> Any:
    """What the real route says it answers."""
    return msgspec.to_builtins(next(route.example for route in routes.ROUTES if route.path == path))


@dataclass
class PlayedApi:
    """Our API, as its own examples say that it answers."""

    address: str = ""
    asked: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)


@contextmanager
def played_api() -> Iterator[PlayedApi]:
    played = PlayedApi()
    played.answers = {
        "GET /api/v1/trades/active": example(trades, "/api/v1/trades/active"),
        "GET /api/v1/strategies/statistics": example(statistics, "/api/v1/strategies/statistics"),
        "POST /api/system/stop": example(system, "/api/system/stop"),
    }

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked = f"{self.command} {self.path}"
            played.asked.append(asked)
            found = played.answers.get(asked)
            if isinstance(found, str):
                body = found.encode()
            elif found is None:
                body = json.dumps({"success": False, "error": {"message": "The database is away."}}).encode()
            else:
                body = json.dumps({"success": True, "data": found}).encode()
            self.send_response(200 if found is not None else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def log_message(self, *_anything: object) -> None:
            """Say nothing on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        played.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield played
        finally:
            server.shutdown()
            thread.join()


def a_report(name: str, state: str = "RUNNING", *, fresh: bool = True) -> ProcessReport:
    running = state == "RUNNING"
    return ProcessReport(
        name, 1, state, 60, 2, 31.4 if running else None, 80, 1.0 if running else None, "x", "work", "", fresh
    )


class Chat:
    """A person and the fleet."""

    def __init__(self, folder: Path, telegram: PlayedTelegram, api: PlayedApi) -> None:
        self.folder, self.telegram, self.api = folder, telegram, api
        self.now = NOW
        self.paused: list[float] = []
        self.alerts = AlertWatch(folder, folder / "notices", (DOWN,))
        self.reports: list[ProcessReport] | None = [a_report("market-feed"), a_report("demo-exchange", "STOPPED")]
        self.restart()

    def restart(self) -> None:
        bot = TelegramNotifier(TOKEN, "42", base_url=self.telegram.base_url, monotonic=self.clock_s)
        commands = Commands(self.alerts, OwnApi(self.api.address), self.processes, lambda: HOST, simulated=True)
        self.desk = CommandDesk(bot, commands, self.folder / "offset", clock=lambda: self.now, pause=self.pause)

    def clock_s(self) -> float:
        return self.now.timestamp()

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.now += timedelta(seconds=seconds)

    def processes(self, _now: datetime) -> list[ProcessReport]:
        if self.reports is None:
            raise Unavailable("supervisord does not answer.", cure="Start it.")
        return self.reports

    def say(self, text: str, *, after_s: float = 1, chat_id: int = 42, written_s_ago: float = 0) -> list[str]:
        """Write to the bot; what it answered."""
        self.now += timedelta(seconds=after_s)
        before = len(self.telegram.taken)
        self.telegram.write(text, chat_id=chat_id, at_s=self.now.timestamp() - written_s_ago)
        self.desk.turn(wait_s=0)
        return self.telegram.taken[before:]

    def down(self, name: str) -> None:
        for _ in range(3):
            self.now += timedelta(seconds=5)
            self.alerts.look({("process_down", name): 1}, self.now)


@pytest.fixture
def chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with played_telegram() as telegram, played_api() as api:
        yield Chat(tmp_path, telegram, api)


def test_status_says_how_things_are(chat: Chat):
    chat.reports = [a_report("market-feed"), a_report("monitor", fresh=False), a_report("demo-exchange", "STOPPED")]
    chat.down("broker")

    (answer,) = chat.say("/status")
    assert answer.splitlines() == [
        "CPU 12 %, memory 50 %, disk 70 %",
        "1 of 2 processes are well: not monitor",
        "stopped: demo-exchange",
        "firing: process-down/broker",
        "(simulated market)",
    ]


def test_status_answers_what_it_can_while_supervisord_is_away(chat: Chat):
    chat.reports = None

    (answer,) = chat.say("/status")
    assert "CPU 12 %" in answer
    assert "supervisord does not answer. Start it." in answer
    assert "nothing fires" in answer


def test_ps_lists_every_process(chat: Chat):
    assert chat.say("/ps") == [
        "market-feed: 31 of 80 MB, worked 1 s ago, 2 restarts\ndemo-exchange: STOPPED",
    ]


def test_positions_are_the_apis(chat: Chat):
    (answer,) = chat.say("/positions")

    assert answer.splitlines() == [
        "BTC/USDT:USDT V3 LONG: +6.27 at 43300 (in at 43271.6, stop 42820.1, target 44399.8)",
        "BTC/USDT:USDT V3 LONG: an order waits",
        "(simulated market)",
    ]


def test_profit_is_the_apis(chat: Chat):
    assert chat.say("/profit") == [
        "V3: +412.55 by 12 paper trades, 58.33 % won, drawdown 2.3104 %, equity 500412.55\n(simulated market)"
    ]


def test_no_position_is_an_answer_too(chat: Chat):
    chat.api.answers["GET /api/v1/trades/active"] = {"trades": [], "orders": []}

    assert chat.say("/positions") == ["No paper trade is open.\n(simulated market)"]


def test_while_the_api_is_away_it_says_so(chat: Chat, tmp_path: Path):
    with played_api() as gone:
        pass
    chat.api = gone
    chat.restart()

    (answer,) = chat.say("/positions")
    assert answer.startswith("The API does not answer")
    assert "flotilla logs main-app" in answer


def test_what_the_api_refuses_is_said_in_its_words(chat: Chat):
    del chat.api.answers["GET /api/v1/strategies/statistics"]

    assert "The database is away." in chat.say("/profit")[0]


@pytest.mark.parametrize("answer", ["<html>", "[]", '{"success": true, "data": 5}'])
def test_what_is_not_our_api_is_said_to_be_so(chat: Chat, answer: str):
    chat.api.answers["GET /api/v1/trades/active"] = answer

    assert "API" in chat.say("/positions")[0]


def test_an_api_of_another_shape_ends_nothing(chat: Chat):
    chat.api.answers["GET /api/v1/trades/active"] = {"trades": [{"odd": 1}]}

    assert "do not understand" in chat.say("/positions")[0]
    assert chat.say("/help")[0].startswith("/status")


def test_alerts_are_listed_and_acknowledged(chat: Chat):
    chat.down("broker")
    before, known, after = chat.say("/alerts"), chat.say("/ack process-down/broker"), chat.say("/alerts")

    assert before[0].endswith("broker does not run. Look.")
    assert known == ["Acknowledged: process-down/broker. They stay silent until they are over."]
    assert "(known to Telegram)" in after[0]


def test_there_may_be_nothing_to_acknowledge(chat: Chat):
    assert chat.say("/ack") == ["Nothing fires."]
    assert chat.say("/ack cpu") == ["No alert 'cpu' fires; /alerts lists them."]
    assert chat.say("/alerts") == ["Nothing fires."]


def test_stop_is_done_when_it_is_said_twice_within_a_minute(chat: Chat):
    first = chat.say("/stop")
    asked_early = list(chat.api.asked)
    second = chat.say("/stop", after_s=59)

    assert "again within 60 s" in first[0]
    assert asked_early == []
    assert chat.api.asked == ["POST /api/system/stop"]
    assert second == ["market-feed, strategy-worker: stopping."]


def test_stop_needs_a_confirmation_that_comes_in_time_and_at_once(chat: Chat):
    chat.say("/stop")
    chat.say("/stop", after_s=61)  # asks anew
    chat.say("/status")
    chat.say("/stop")
    chat.restart()
    chat.say("/stop")

    assert chat.api.asked == []


def test_a_third_stop_asks_again(chat: Chat):
    for _ in range(3):
        chat.say("/stop")

    assert chat.api.asked == ["POST /api/system/stop"]


def test_other_chats_get_nothing(chat: Chat):
    answers = [chat.say(text, chat_id=7) for text in ("/status", "/stop", "/stop", "/ack")]

    assert answers == [[]] * 4
    assert chat.api.asked == []


def test_what_another_chat_says_confirms_nothing(chat: Chat):
    chat.say("/stop")
    chat.say("/stop", chat_id=7)

    assert chat.api.asked == []


def test_talk_is_not_answered_and_an_unknown_command_is_helped(chat: Chat):
    assert chat.say("good morning") == []
    assert chat.say("/halt")[0].startswith("I do not know /halt.")
    assert chat.say("/HELP@flotilla_bot")[0].startswith("/status")


def test_a_command_that_was_done_is_not_done_again_after_a_restart(chat: Chat):
    chat.say("/stop")
    chat.say("/stop")
    chat.telegram.gone = 0  # a Telegram that forgets what was taken
    chat.restart()
    answers = chat.say("/help")

    assert chat.api.asked == ["POST /api/system/stop"]
    assert len(answers) == 1


def test_killed_before_it_acts_it_loses_the_command_and_does_not_do_it_twice(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        """As by SIGKILL."""

    def killed(*_anything: object) -> None:
        raise Killed

    chat.say("/stop")
    with monkeypatch.context() as patched:
        patched.setattr(OwnApi, "ask", killed)
        with pytest.raises(Killed):
            chat.say("/stop")
    chat.restart()
    chat.desk.turn(wait_s=0)

    assert chat.api.asked == []


def test_a_place_that_cannot_be_stored_does_nothing(chat: Chat):
    (chat.folder / "offset").mkdir()

    with pytest.raises(OSError, match="offset"):
        chat.say("/status")
    assert chat.telegram.taken == []


def test_what_was_written_long_ago_is_not_done(chat: Chat):
    first = chat.say("/stop", written_s_ago=3_600)
    chat.say("/stop", written_s_ago=3_600)

    assert first == ["I was away for a while: /stop is 60 minutes old. Send it again if it still holds."]
    assert chat.api.asked == []


def test_an_answer_waits_for_telegrams_pace(chat: Chat):
    chat.telegram.plan = ["wait", "broken", "take"]

    assert len(chat.say("/help")) == 1
    assert chat.paused == [7, 1]


def test_an_answer_that_is_never_taken_is_given_up_and_the_next_one_comes(chat: Chat):
    chat.telegram.plan = ["broken"] * 5

    assert chat.say("/help") == []
    assert len(chat.say("/help")) == 1


def test_a_damaged_place_is_none(chat: Chat):
    (chat.folder / "offset").write_text("many")
    chat.restart()

    assert len(chat.say("/help")) == 1


def test_many_alerts_fit_into_one_answer(chat: Chat):
    for _ in range(3):
        chat.now += timedelta(seconds=5)
        chat.alerts.look({("process_down", f"p{number:03} " + "x" * 300): 1 for number in range(60)}, chat.now)

    (answer,) = chat.say("/alerts")
    assert len(answer) <= 4096
