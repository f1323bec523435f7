"""What `flotilla judge` and `flotilla rederive` show: a verdict, and the chain of reasons that leads to it."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from app.domain.market import symbols
from app.domain.strategies.strategy import Inputs, Verdict
from app.domain.strategies.table import STRATEGIES
from app.errors import InvalidInput
from app.settings import Settings
from app.storage.database import open_engine, reading
from app.usecases.analyze import analyze, last_step, not_watched
from app.usecases.judge import inputs_of, rederive
from app.usecases.market_source import Source


def judge(settings: Settings, spelled: str) -> dict[str, Any]:
    """Judge one symbol now, as of the last close of 15m, by every strategy. Nothing is written."""
    source = Source(settings.simulated, tuple(settings.feed.exchanges), settings.state_dir)
    symbol, as_of_ms = symbols.parse(spelled), last_step(source.time(time.time_ns() // 1_000_000))
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        found = analyze(engine, (symbol,), tuple(STRATEGIES.values()), exchanges=source.exchanges, as_of_ms=as_of_ms)
    finally:
        engine.dispose()
    if not found:
        trouble = not_watched(symbol)
        raise InvalidInput(str(trouble), cure=trouble.cure)  # the word on the command line was wrong
    verdicts = {
        one.strategy.name: {"candles": dict(one.candles)}
        | (_shown(one.judged.verdict, one.judged.inputs) if one.judged else {})
        for one in found
    }
    return {"symbol": symbol, "simulated": settings.simulated, "as_of_ms": as_of_ms, "strategies": verdicts}


def again(settings: Settings, judgment_id: int) -> dict[str, Any]:
    """Judge a stored judgment's inputs again."""
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        with reading(engine) as db:
            found = rederive(db, judgment_id)
    finally:
        engine.dispose()
    stored = found.stored
    return {
        "id": stored.id,
        "symbol": stored.symbol,
        "strategy": stored.strategy_type,
        "timeframe": stored.timeframe,
        "closed_at": stored.created_at.isoformat(),
        "same": not found.differences,
        "differences": list(found.differences),
        "verdict": _shown(found.verdict, inputs_of(stored)),
    }


def judged_lines(seen: dict[str, Any]) -> list[str]:
    """The same for a person."""
    lines = [f"{seen['symbol']}  ** SIMULATED / 模拟 **" if seen["simulated"] else seen["symbol"]]
    for name, verdict in seen["strategies"].items():
        lines += ["", *_verdict_lines(name, verdict)]
    return lines


def again_lines(seen: dict[str, Any]) -> list[str]:
    """The same for a person."""
    head = f"judgment {seen['id']}: {seen['symbol']} {seen['strategy']} {seen['timeframe']}, closed {seen['closed_at']}"
    said = "the same, bit for bit" if seen["same"] else f"DIFFERENT: {', '.join(seen['differences'])}"
    return [head, said, "", *_verdict_lines(seen["strategy"], seen["verdict"])]


def _shown(verdict: Verdict, inputs: Inputs) -> dict[str, Any]:
    blocked = verdict.blocked_by
    return {
        **{name: value for name, value in asdict(verdict).items() if name != "gates"},
        "gates": [{"name": gate.name, "passed": gate.passed, "values": dict(gate.values)} for gate in verdict.gates],
        "blocked_by": None if blocked is None else blocked.name,
        "inputs": msgspec.structs.asdict(inputs),
    }


def _verdict_lines(name: str, verdict: Mapping[str, Any]) -> list[str]:
    if "signal" not in verdict:
        return [f"{name}: nothing can be said; candles: {_values(verdict['candles'])}"]
    strength = f" ({verdict['strength']})" if verdict["strength"] else ""
    scores = ", ".join(f"{timeframe} {score:.1f}" for timeframe, score in verdict["scores"].items())
    rests = f"confidence {verdict['confidence']}, inputs {verdict['inputs']['status']}"
    head = f"{name}: {verdict['signal']}{strength}  trend {verdict['trend']}, total {verdict['total']} of 100, {rests}"
    lines = [head, f"  scores of 10: {scores}"]
    open_so_far = True
    for gate in verdict["gates"]:
        mark = "pass" if gate["passed"] else "STOP" if open_so_far else "no"
        open_so_far &= gate["passed"]
        lines.append(f"  {mark:<4} {gate['name']:<14} {_values(gate['values'])}")
    stopped = next((gate for gate in verdict["gates"] if gate["name"] == verdict["blocked_by"]), None)
    if stopped:
        lines.append(f"  no trade: stopped at {stopped['name']!r}: {_values(stopped['values'])}")
    if verdict["levels"]:
        lines.append(f"  {_values(verdict['levels'])}")
    return lines


def _values(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: object) -> str:
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.8g}" if isinstance(value, float) else str(value)
