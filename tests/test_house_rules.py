"""The rules of the house that no linter knows. Each failure says what to do."""

import ast
import re
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from app.host.fleet_file import read_fleet
from app.settings import ROOT

ROOMS = ("app", "api", "workers", "ops")
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "helpers", "helper", "base", "manager", "managers", "misc"}
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "versions" not in path.parts)


def modules(folder: str, *, without: set[str] = frozenset()) -> set[str]:  # type: ignore[assignment]
    return {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"} - without


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.name == "__init__.py"], ids=lambda path: str(path.parent.name)
)
def test_a_room_has_a_sign_and_nothing_else(path: Path):
    body = ast.parse(path.read_text(encoding="utf-8")).body

    assert len(body) == 1, f"{path} may hold a docstring and nothing else: importing a room costs nothing."
    assert isinstance(body[0], ast.Expr)
    assert isinstance(body[0].value, ast.Constant)


def test_every_room_has_a_sign():
    rooms = {path.parent for path in SOURCES}

    assert [room for room in rooms if not (room / "__init__.py").exists()] == []


def test_every_module_says_what_it_is():
    silent = [path for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]

    assert silent == [], "Give each a docstring that says what it is."


def test_no_module_has_a_name_that_says_nothing():
    bad = [path for path in SOURCES if path.stem in NAMES_THAT_SAY_NOTHING]

    assert bad == [], "A function lives with the noun that it is about."


def test_every_process_has_a_module_and_every_worker_is_a_process():
    conf = (ROOT / "supervisord.conf").read_text(encoding="utf-8")
    named = set(re.findall(r'^command="%\(ENV_FLOTILLA_PYTHON\)s" -m (\S+)', conf, flags=re.MULTILINE))
    with_main = {
        f"workers.{name}"
        for name in modules("workers")
        if "def main()" in (ROOT / "workers" / f"{name}.py").read_text()
    }

    assert with_main <= named, f"Give {with_main - named} a [program:...] block in supervisord.conf."
    for name in named:
        assert (ROOT / f"{name.replace('.', '/')}.py").exists(), (
            f"supervisord.conf starts {name}, which does not exist."
        )


def test_ceilings_stand_in_supervisord_conf_and_nowhere_else():
    assert all(spec.ceiling_mb > 0 for spec in read_fleet(ROOT / "supervisord.conf"))
    said_again = [
        path
        for path in SOURCES
        if re.search(r"MEMORY_LIMIT_MB\W{1,4}\d|ceiling_mb\s*=\s*\d", path.read_text(encoding="utf-8"))
    ]

    assert said_again == []


def test_every_job_has_one_handler_and_a_worker():
    schedule = import_module("workers.schedule")

    assert len({job.name for job in schedule.JOBS}) == len(schedule.JOBS)
    for job in schedule.JOBS:
        assert job.queue in schedule.QUEUES, f"No worker takes the queue of {job.name}."
        assert callable(schedule.handler(job))


def test_every_kind_of_task_is_in_the_table_and_has_a_worker():
    table = import_module("app.usecases.task_table")
    schedule = import_module("workers.schedule")

    for name, kind in table.KINDS.items():
        assert name == kind.name
        assert kind.queue in schedule.QUEUES


def test_every_exchange_is_in_the_table():
    folder = ROOT / "app" / "exchanges"
    adapters = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("_")}
    table = import_module("app.exchanges.table")

    assert adapters - {"demo", "replay"} == set(table.EXCHANGES), "Name it in app/exchanges/table.py."


def test_every_strategy_is_in_the_table():
    folder = ROOT / "app" / "domain" / "strategies"
    plug_ins = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("_")}
    table = import_module("app.domain.strategies.table")

    assert plug_ins == {name.lower() for name in table.STRATEGIES}, "Name it in app/domain/strategies/table.py."


def test_what_needs_the_names_of_the_strategies_has_those_of_the_table():
    known = set(import_module("app.domain.strategies.table").STRATEGIES)

    assert set(import_module("app.storage.tables").STRATEGIES) == known, "Name it in app/storage/tables.py as well."
    assert set(get_args(import_module("api.routes.route").StrategyName)) == known, "And in api/routes/route.py."


def test_every_rule_that_the_code_cites_is_told_in_the_docs():
    cited = {
        code
        for path in SOURCES
        for line in path.read_text(encoding="utf-8").splitlines()
        for code in re.findall(r"\b(?:A\d|B\d\.\d{1,2})\b(?!/)", line)
    }
    told = set(
        re.findall(r"^\| (\w+(?:\.\d+)?) \|", (ROOT / "docs/rules.md").read_text(encoding="utf-8"), re.MULTILINE)
    )

    assert cited - told == set(), "Say in docs/rules.md what it holds."


def test_retention_names_real_tables():
    retention = import_module("app.domain.retention")
    tables = import_module("app.storage.tables")

    for keep in retention.POLICY:
        columns = tables.metadata.tables[keep.table].columns
        assert keep.since in columns
        assert not keep.found_by or keep.found_by in columns


def test_what_is_archived_is_not_purged():
    archive, purge = import_module("app.usecases.archive"), import_module("app.usecases.purge")

    assert all(keep.archive for keep in archive.RULES)
    assert not any(keep.archive for keep in purge.RULES)


def test_every_api_resource_is_in_the_table():
    table = import_module("api.routes.table")
    named = {route.handler.__module__.rpartition(".")[2] for route in table.ROUTES}

    assert modules("api/routes", without={"table", "route"}) <= named, "Name it in api/routes/table.py."


def test_the_tests_mirror_the_rooms():
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}

    assert [str(folder) for folder in folders if not (ROOT / folder).is_dir()] == []


def test_the_readme_points_at_things_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    paths = {word for word in re.findall(r"`([a-z_./]+(?:\.[a-z]+|/))`", text) if "<" not in word}

    assert [path for path in paths if "/" in path and not (ROOT / path).exists()] == []


def test_every_make_target_of_the_readme_exists_and_says_what_it_does():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    explained = set(re.findall(r"^([a-z-]+):.*## ", makefile, flags=re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)[1].split())  # type: ignore[index]

    assert phony == explained
    assert set(re.findall(r"(?:`| {4})make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8"))) <= explained
