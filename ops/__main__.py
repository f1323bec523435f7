"""The `flotilla` command. Each subcommand says what it does; `--json` makes the answer a machine's.

Exit codes: 0 well · 1 not well (what was asked for was found bad) · 2 the command line is wrong · 3 the fleet, or something
that it needs, does not answer · 4 the configuration cannot be used · 5 refused. `flotilla ctl` keeps to them too: supervisorctl's
own codes become 0, 3 when no fleet answers, and 1 for everything else; it has no JSON.
"""

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from app import settings as settings_module
from app.errors import CorruptData, FlotillaError, InvalidInput, Misconfigured, Unavailable
from app.host import fleet_file, fleet_source, logs
from app.host.fleet_report import ProcessReport, fleet_report
from app.host.supervisor import Supervisor
from app.settings import Settings

WELL, NOT_WELL, USAGE, UNAVAILABLE, MISCONFIGURED, REFUSED = 0, 1, 2, 3, 4, 5


def main(words: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    args = _parser().parse_args(words)
    args.line = _line(sys.argv[1:] if words is None else words)
    try:
        settings = settings_module.load(os.environ)
        if args.command in _OF_THE_FLEET:
            settings = _as_the_fleet(settings, chosen=args.command in _OF_A_CHOSEN_MARKET and _CHOICE in os.environ)
        code: int = args.command(settings, args)
        sys.stdout.flush()
    except FlotillaError as error:
        return _complain(error, as_json=args.json)
    except BrokenPipeError:  # `flotilla logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WELL
    except KeyboardInterrupt:
        return 130
    return code


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Start everything and stay in the foreground until Ctrl-C."""
    from ops import launch

    return launch.run(settings, launch.say_on(args.json))


def start(settings: Settings, args: argparse.Namespace) -> int:
    """Start everything in the background."""
    from ops import launch

    return launch.start(settings, launch.say_on(args.json))


def stop(settings: Settings, args: argparse.Namespace) -> int:
    """Drain and stop everything."""
    from ops import launch

    return launch.stop(settings, launch.say_on(args.json))


def ps(settings: Settings, args: argparse.Namespace) -> int:
    """Show one row a process; exit code 1 when one that should run does not, or is silent."""
    reports = _reports(settings)
    if args.json:
        _print_json([asdict(report) for report in reports])
    else:
        _print_table(
            ("NAME", "PID", "STATE", "UPTIME_S", "RESTARTS", "MEMORY_MB", "CEILING_MB", "HEARTBEAT_AGE_S", "LAST WORK"),
            [
                (
                    r.name,
                    r.pid,
                    r.state,
                    r.uptime_s,
                    r.restarts,
                    r.memory_mb,
                    r.ceiling_mb,
                    r.heartbeat_age_s,
                    r.last_work,
                )
                for r in reports
            ],
        )
        known = [report.memory_mb for report in reports if report.memory_mb is not None]
        print(f"{len(known)} processes, {sum(known):.0f} MB together")
    idle = _idle(settings)
    return WELL if all(report.fresh or report.name in idle for report in reports) else NOT_WELL


def top(settings: Settings, args: argparse.Namespace) -> int:
    """Show the whole fleet on one screen, again and again until Ctrl-C."""
    from ops import top as screen

    screen.watch(settings, every_s=args.every, once=args.once)
    return WELL


def doctor(settings: Settings, args: argparse.Namespace) -> int:
    """Examine everything that Flotilla stands on; exit code 1 when something is broken."""
    from ops import doctor as examination

    findings = examination.examine(settings, drill=args.drill)
    if args.json:
        _print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{finding.verdict:<5} {finding.what:<12} {finding.found}")
            if finding.what_to_do and finding.verdict != "ok":
                print(f"{'':<18} -> {finding.what_to_do}")
    return NOT_WELL if any(finding.verdict == "bad" for finding in findings) else WELL


def show_logs(settings: Settings, args: argparse.Namespace) -> int:
    """Show the newest log entries, oldest first."""
    known = [spec.name for spec in fleet_file.read_fleet(settings_module.ROOT / "supervisord.conf")]
    if args.process and args.process not in known:
        raise InvalidInput(f"There is no process {args.process!r}.", cure=f"Known: {', '.join(known)}.")

    if not args.follow:
        entries = logs.tail(settings.log_dir, args.process, args.lines, level=args.level, trace=args.trace)
        _print_entries(entries, as_json=args.json)
        if not entries:
            print(f"Nothing of this kind stands in {settings.log_dir}.", file=sys.stderr)
        return WELL
    follower = logs.Follower(settings.log_dir, args.process, level=args.level, trace=args.trace)
    with contextlib.closing(follower), contextlib.suppress(KeyboardInterrupt):
        _print_entries(follower.before(args.lines), as_json=args.json)
        while True:
            time.sleep(0.5)
            _print_entries(follower.appended(), as_json=args.json)
    return WELL


def show_config(settings: Settings, args: argparse.Namespace) -> int:
    """Show every setting in force; secrets are hidden."""
    tree = settings_module.shown(settings)
    if args.json:
        _print_json(tree)
    else:
        for section, table in tree.items():
            print(f"[{section}]")
            for key, value in table.items():
                print(f"{key} = {json.dumps(value, ensure_ascii=False)}")
            print()
    return WELL


def migrate(settings: Settings, args: argparse.Namespace) -> int:
    """Bring the database to this version's schema; with --check only compare, exit code 1 when it differs."""
    from ops import migrate as migration

    if args.check:
        found = migration.status_of(settings.database_url)
        answer = {"schema": found.current, "wanted": found.head, "state": found.state}
    else:
        before, after = migration.upgrade(settings.database_url)
        answer = {"before": before, "schema": after, "state": "current"}
    if args.json:
        _print_json(answer)
    else:
        print(", ".join(f"{name}: {value}" for name, value in answer.items()))
    return WELL if answer["state"] == "current" else NOT_WELL


def market(settings: Settings, args: argparse.Namespace) -> int:
    """Show one symbol: book, candles, open interest, funding, quality; exit code 1 when the feed is silent or the price is old."""
    from ops import market_view

    seen = market_view.look(settings, args.symbol, args.exchange)
    _print_seen(args, seen, market_view.lines)
    return WELL if market_view.is_well(seen) else NOT_WELL


def judge(settings: Settings, args: argparse.Namespace) -> int:
    """Judge one symbol now by every strategy, and say why there is no trade; exit code 1 when nothing can be said of it."""
    from ops import judge_view

    seen = judge_view.judge(settings, args.symbol)
    _print_seen(args, seen, judge_view.judged_lines)
    return WELL if all("signal" in verdict for verdict in seen["strategies"].values()) else NOT_WELL


def rederive(settings: Settings, args: argparse.Namespace) -> int:
    """Judge the inputs of a stored judgment again; exit code 1 when something comes out differently."""
    from ops import judge_view

    if not 0 < args.id < 2**63:
        raise InvalidInput(
            f"There can be no judgment {args.id}.", cure="GET /api/v1/strategies/v3/judgments lists them."
        )
    seen = judge_view.again(settings, args.id)
    _print_seen(args, seen, judge_view.again_lines)
    return WELL if seen["same"] else NOT_WELL


def import_candles(settings: Settings, args: argparse.Namespace) -> int:
    """Bring in candles and funding rates from files and folders; exit code 1 when something of them was refused."""
    from ops import import_files

    return import_files.run(settings, args)


def replay_files(settings: Settings, args: argparse.Namespace) -> int:
    """Put recorded messages and trades through the same pipeline as live ones, into rows of replay-EXCHANGE."""
    from ops import replay_files as replaying

    return replaying.run(settings, args)


def archive(settings: Settings, args: argparse.Namespace) -> int:
    """List, verify or restore what the nights have moved out of the database; exit code 1 when something of it is not well."""
    from ops import archive_files

    return archive_files.run(settings, args)


def backup(settings: Settings, args: argparse.Namespace) -> int:
    """Make, list, verify or restore copies of the whole database; exit code 1 when one is not well."""
    from ops import backup_files

    return backup_files.run(settings, args)


def ctl(settings: Settings, args: argparse.Namespace) -> int:
    """Run supervisorctl on this state folder's fleet; it has no --json, and 1 stands for all its errors but a silent fleet (3)."""
    if args.json or "--json" in args.words:
        raise InvalidInput("supervisorctl does not speak JSON.", cure="Leave --json away, or use: flotilla ps --json")
    words = [
        sys.executable,
        "-m",
        "supervisor.supervisorctl",
        "-s",
        f"unix://{settings.supervisor_socket}",
        *args.words,
    ]
    if subprocess.call(words) == 0:
        return WELL
    Supervisor(settings.supervisor_socket).pid()  # its codes don't say whether anybody answered; this raises if not
    return NOT_WELL


def _line(words: Sequence[str]) -> str:
    """The command as it was typed, to be typed again with something before it."""
    name = sys.argv[0]
    began = f"{sys.executable} -m ops" if name.endswith("__main__.py") else shlex.quote(name)
    return f"{began} {shlex.join(words)}"


_CHOICE = "FLOTILLA__FEED__EXCHANGES"
_OF_THE_FLEET = {ps, doctor, migrate, market, judge, rederive, import_candles, replay_files, archive, backup}
"""What reads or writes one market's data; the others do the same whichever market it is, or begin a fleet of their own."""
_OF_A_CHOSEN_MARKET = {migrate, import_candles, replay_files, archive, backup}
"""What may be done to the other market's database beside the fleet, by whoever names it on this very command line."""


def _as_the_fleet(settings: Settings, *, chosen: bool) -> Settings:
    """The settings with the market of the running fleet: it may have been started with another one than these say."""
    source = fleet_source.read(settings.run_dir)
    if source is None or source.exchanges == settings.feed.exchanges:
        return settings
    from ops import launch

    if launch.running(settings) is None:
        return settings
    names = ",".join(source.exchanges) or "no exchange"
    if chosen:
        print(f"the running fleet watches {names}; {_CHOICE} is heeded for this command", file=sys.stderr)
        return settings
    print(f"the running fleet watches {names}", file=sys.stderr)
    return msgspec.structs.replace(settings, feed=msgspec.structs.replace(settings.feed, exchanges=source.exchanges))


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="answer as JSON")
    parser = argparse.ArgumentParser(
        prog="flotilla",
        description="A small fleet of processes that watches crypto markets.",
        epilog="Exit codes: 0 well, 1 not well, 2 wrong command line, 3 does not answer, 4 misconfigured, 5 refused. "
        "ctl: supervisorctl's codes become 0, 3 when no fleet answers, else 1.",
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[Settings, argparse.Namespace], int]) -> argparse.ArgumentParser:
        text = (command.__doc__ or "").strip()
        made = commands.add_parser(name, parents=[shared], help=text, description=text)
        made.set_defaults(command=command)
        return made

    add("run", run)
    add("start", start)
    add("stop", stop)
    add("ps", ps)
    screen = add("top", top)
    screen.add_argument("--every", type=float, default=2.0, help="seconds between two looks (2)")
    screen.add_argument("--once", action="store_true", help="one look, and end")
    examined = add("doctor", doctor)
    examined.add_argument("--drill", action="store_true", help="also send a task through the queue and time its start")
    shown = add("logs", show_logs)
    shown.add_argument("process", nargs="?", help="one process; all of them without it")
    shown.add_argument("-n", "--lines", type=_count, default=50, help="how many entries (50)")
    shown.add_argument("--level", choices=logs.LEVELS, help="the least level")
    shown.add_argument("--trace", help="only entries of this trace id")
    shown.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    add("show-config", show_config)
    add("migrate", migrate).add_argument("--check", action="store_true", help="only compare")
    watched = add("market", market)
    watched.add_argument("symbol", help="in any common spelling, such as BTCUSDT")
    watched.add_argument("--exchange", help="one of those that are watched; without it, the first")
    add("judge", judge).add_argument("symbol", help="in any common spelling, such as BTCUSDT")
    add("rederive", rederive).add_argument(
        "id", type=int, help="its number: GET /api/v1/strategies/v3/judgments lists them"
    )
    _import_words(add("import", import_candles))
    _replay_words(add("replay", replay_files))
    _archive_words(add("archive", archive), shared)
    _backup_words(add("backup", backup), shared)
    add("ctl", ctl).add_argument(
        "words", nargs=argparse.REMAINDER, help="what supervisorctl takes, such as: restart monitor"
    )
    return parser


def _import_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="feather, Parquet, JSON, CSV, Binance's zips, or a folder of them"
    )
    parser.add_argument("--exchange", required=True, help="whose they are, such as binance")
    parser.add_argument("--symbol", help="of which symbol, where the file or its name does not say: BTC/USDT:USDT")
    parser.add_argument("--timeframe", help="how long a candle lasts, where the file or its name does not say: 1h")
    parser.add_argument("--spot", action="store_true", help="names that leave it open, such as BTCUSDT, are spot pairs")
    parser.add_argument("--quote", help="the quote coin, where a file only names coins: USDT")
    parser.add_argument(
        "--utc-offset", type=float, default=0.0, metavar="HOURS", help="how far times without a zone are ahead of UTC"
    )


def _replay_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="FILE", help="recordings; several are replayed together")
    parser.add_argument("--exchange", default="binance", help="whose protocol it is (binance)")
    parser.add_argument("--symbol", action="append", default=[], help="what was recorded, such as BTCUSDT; repeat it")
    parser.add_argument("--spot", action="store_true", help="names that leave it open, such as BTCUSDT, are spot pairs")
    parser.add_argument("--kind", help="what kind of recording, where its name does not say")
    parser.add_argument("--speed", type=float, help="so many times as fast as it was; without it, as fast as it goes")


def _archive_words(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    deeds = parser.add_subparsers(required=True, metavar="WHAT", dest="deed")
    _deed(deeds, "list", "Show every archive.", shared)
    verify = _deed(
        deeds, "verify", "Read archives through; exit code 1 when one is not what its manifest says.", shared
    )
    verify.add_argument("name", nargs="?", metavar="NAME", help="one of the list; all of them without it")
    restore = _deed(deeds, "restore", "Put the rows of one back; what is there stays, twice changes nothing.", shared)
    restore.add_argument("name", metavar="NAME", help="one of the list")


def _backup_words(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    deeds = parser.add_subparsers(required=True, metavar="WHAT", dest="deed")
    _deed(deeds, "create", "Copy the whole database as it is now; the fleet may go on.", shared)
    _deed(deeds, "list", "Show every backup.", shared)
    verify = _deed(deeds, "verify", "Read one through; exit code 1 when it is not what its manifest says.", shared)
    verify.add_argument("name", metavar="NAME", help="one of the list")
    restore = _deed(deeds, "restore", "Put one into an empty database, of its own kind or another.", shared)
    restore.add_argument("name", metavar="NAME", help="one of the list")
    restore.add_argument("--force", action="store_true", help="delete what is in the database first")


def _deed(deeds: Any, name: str, text: str, shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = deeds.add_parser(name, parents=[shared], help=text, description=text)
    return made


def _idle(settings: Settings) -> set[str]:
    """Processes that need not run: those that somebody wished stopped, and those that these settings leave at rest."""
    from app.storage import processes
    from app.storage.database import open_engine, reading

    idle = set(settings.unneeded)
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        with reading(engine) as db:
            return idle | processes.stopped_on_purpose(db)
    except FlotillaError:
        return idle  # the wishes are unknown, so that every process is expected to run
    finally:
        engine.dispose()


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 10_000:
        raise argparse.ArgumentTypeError("must be 1 to 10000")
    return count


def _reports(settings: Settings) -> list[ProcessReport]:
    specs = fleet_file.read_fleet(settings_module.ROOT / "supervisord.conf")
    supervisor = Supervisor(settings.supervisor_socket)
    return fleet_report(specs, supervisor, settings.run_dir, time.time())


def _print_entries(entries: list[dict[str, Any]], *, as_json: bool) -> None:
    for entry in entries:
        if as_json:
            print(json.dumps(entry, ensure_ascii=False))
        else:
            known = {"at", "level", "process", "logger", "message", "error"}
            rest = " ".join(f"{key}={value}" for key, value in entry.items() if key not in known)
            print(f"{entry['at']:<29} {entry['level']:<8} {entry['process']:<15} {entry['message']} {rest}".rstrip())
            if error := entry.get("error"):
                print(error.rstrip())
    sys.stdout.flush()


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    texts = [head, *(tuple("-" if value is None else str(value) for value in row) for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    for row in texts:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _print_seen(args: argparse.Namespace, seen: dict[str, Any], lines: Callable[[dict[str, Any]], list[str]]) -> None:
    if args.json:
        _print_json(seen)
    else:
        print("\n".join(lines(seen)))


def _print_json(answer: object) -> None:
    print(json.dumps(answer, indent=2, ensure_ascii=False, default=str))


def _complain(error: FlotillaError, *, as_json: bool) -> int:
    if as_json:
        _print_json(
            {
                "error": {
                    "code": error.code,
                    "type": type(error).__name__,
                    "message": str(error),
                    "what_to_do": error.cure,
                }
            }
        )
    else:
        print(f"{error}\n-> {error.cure}", file=sys.stderr)
    match error:
        case Unavailable():
            return UNAVAILABLE
        case Misconfigured():
            return MISCONFIGURED
        case CorruptData():
            return NOT_WELL
        case InvalidInput():
            return USAGE
        case _:
            return REFUSED


if __name__ == "__main__":
    sys.exit(main())
