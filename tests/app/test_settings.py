import json
import os
import re
from pathlib import Path

import jsonschema
import pytest

from app import settings as settings_module
from app.errors import Misconfigured
from app.settings import ROOT, hide, load, shown

EXAMPLE = ROOT / "ops" / "config" / "flotilla.example.toml"
SCHEMA = ROOT / "ops" / "config" / "flotilla.schema.json"


def with_file(folder: Path, text: str) -> Path:
    (folder / "flotilla.toml").write_text(text, encoding="utf-8")
    return folder


def test_nothing_has_to_be_set(tmp_path: Path):
    settings = load({}, tmp_path)

    assert settings.address == "http://127.0.0.1:8080"
    assert settings.database_url.startswith("sqlite:///")
    assert settings.embedded_broker


def test_the_environment_outranks_the_file(tmp_path: Path):
    root = with_file(tmp_path, "[api]\nport = 9000\n[clock]\ntimezone = 'Asia/Shanghai'\n")

    settings = load({"FLOTILLA__API__PORT": "9001"}, root)

    assert settings.api.port == 9001
    assert settings.clock.timezone == "Asia/Shanghai"


def test_a_list_is_written_with_commas_in_the_environment(tmp_path: Path):
    assert load({"FLOTILLA__FEED__EXCHANGES": "binance, okx,"}, tmp_path).feed.exchanges == ("binance", "okx")


def test_what_is_simulated_never_stands_in_the_database_of_what_is_live(tmp_path: Path):
    demo, live = load({}, tmp_path), load({"FLOTILLA__FEED__EXCHANGES": "binance,okx"}, tmp_path)

    assert (demo.simulated, demo.database_url.endswith("/demo.db")) == (True, True)
    assert (live.simulated, live.database_url.endswith("/flotilla.db")) == (False, True)


def test_processes_that_the_settings_do_not_need_rest(tmp_path: Path):
    live = load({"FLOTILLA__FEED__EXCHANGES": "okx", "FLOTILLA__REDIS__URL": "redis://cache"}, tmp_path)

    assert load({}, tmp_path).unneeded == frozenset()
    assert live.unneeded == {"broker", "demo-exchange"}


def test_the_documents_names_of_exchanges_are_known(tmp_path: Path):
    assert load({"FLOTILLA__FEED__EXCHANGES": "huobi,okex"}, tmp_path).feed.exchanges == ("htx", "okx")


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path):
    (tmp_path / "url").write_text("postgresql://me:secret@db/flotilla\n", encoding="utf-8")

    settings = load({"FLOTILLA__DATABASE__URL_FILE": str(tmp_path / "url")}, tmp_path)

    assert settings.database_url == "postgresql+psycopg://me:secret@db/flotilla"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FLOTILLA__API__PROT", "1", "Did you mean 'port'?"),
        ("FLOTILLA__APII__PORT", "1", "Did you mean 'api'?"),
        ("FLOTILLA__API", "1", "FLOTILLA__API"),
        ("FLOTILLA__API__PORT", "eighty", "FLOTILLA__API__PORT"),
        ("FLOTILLA__API__PORT", "70000", "FLOTILLA__API__PORT"),
        ("FLOTILLA__API__PORT", "", "FLOTILLA__API__PORT"),
        ("FLOTILLA__API__HOST", "0.0.0.0", "loopback"),
        (
            "FLOTILLA__LOG__LEVEL",
            "LOUD",
            "It may be DEBUG, ERROR, INFO, WARNING. Set it in flotilla.toml, or as FLOTILLA__LOG__LEVEL",
        ),
        ("FLOTILLA__DATABASE__URL", "oracle://x", "database.url"),
        ("FLOTILLA__DATABASE__URL", "flotilla.db", "database.url"),
        ("FLOTILLA__DATABASE__URL_FILE", "/nowhere/at/all", "/nowhere/at/all"),
        ("FLOTILLA__REDIS__URL", "localhost:6379", "redis.url"),
        ("FLOTILLA__CLOCK__TIMEZONE", "Mars/Olympus", "Mars/Olympus"),
        ("FLOTILLA__CLOCK__TIMEZONE", "../etc/passwd", "timezone"),
        ("FLOTILLA__FEED__EXCHANGES", "Binance;rm", "feed.exchanges"),
        ("FLOTILLA__FEED__EXCHANGES", "demo,binance", "mixes"),
        ("FLOTILLA__FEED__EXCHANGES", "okx,binance,okx", "okx twice"),
        ("FLOTILLA__FEED__EXCHANGES", "huobi,htx", "htx twice.*huobi is htx today"),
        ("FLOTILLA__API__PORT", "8090", "api.port and demo.port are both 8090"),
        ("FLOTILLA__FEED__SYMBOLS", "BTCUSDT,?!", "feed.symbols"),
        ("FLOTILLA__FEED__FLUSH_MS", "0", "FLOTILLA__FEED__FLUSH_MS"),
        ("FLOTILLA__DEMO__SYMBOLS", "1001", "FLOTILLA__DEMO__SYMBOLS"),
        ("FLOTILLA__OKX__STREAM", "https://ws.okx.com", "okx.stream"),
        ("FLOTILLA__BINANCE__SPOT_REST", "api.binance.com", "binance.spot_rest"),
        ("FLOTILLA__TELEGRAM__TOKEN", "123:abc", "chat_id"),
        ("FLOTILLA__STATE__DIR", "", "FLOTILLA__STATE__DIR"),
        ("FLOTILLA__ALERTS__QUIET_FROM", "25:00", "FLOTILLA__ALERTS__QUIET_FROM"),
        ("FLOTILLA__ALERTS__QUIET_FROM", "22:00", "quiet_to"),
        ("FLOTILLA__WEBHOOK__URL", "hooks.example", "webhook.url"),
        ("FLOTILLA__WEBHOOK__URL", "https://hook..example/x", "webhook.url"),
        ("FLOTILLA__WEBHOOK__URL", "https://hook.example/\udcfc", "FLOTILLA__WEBHOOK__URL"),
        ("FLOTILLA__TELEGRAM__BASE_URL", "https://api..example", "telegram.base_url"),
        ("FLOTILLA__EMAIL__HOST", "mail..example.com", "email"),
        ("FLOTILLA__WEBHOOK__LEAST", "loud", "FLOTILLA__WEBHOOK__LEAST"),
        ("FLOTILLA__EMAIL__HOST", "mail.example", "email needs"),
        ("FLOTILLA__EMAIL__SECURITY", "ssl3", "FLOTILLA__EMAIL__SECURITY"),
    ],
)
def test_what_cannot_be_used_is_refused_and_named(tmp_path: Path, variable: str, value: str, said: str):
    with pytest.raises(Misconfigured, match=said.replace("?", r"\?")) as refusal:
        load({variable: value}, tmp_path)

    assert refusal.value.cure


@pytest.mark.parametrize(
    "text", ["[api", "api = 1", "[api]\nprt = 1", "[nonsense]\n", "[api]\nport = 'x'", "[feed]\nexchanges = 5"]
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str):
    with pytest.raises(Misconfigured, match=r"TOML|api|nonsense|feed"):
        load({}, with_file(tmp_path, text))


def test_a_live_fleet_may_have_the_port_that_a_demo_would_have(tmp_path: Path):
    live = {"FLOTILLA__FEED__EXCHANGES": "binance", "FLOTILLA__API__PORT": "8090"}

    assert load(live, tmp_path).api.port == 8090


def test_a_config_file_that_was_named_must_exist(tmp_path: Path):
    with pytest.raises(Misconfigured, match="does not exist"):
        load({"FLOTILLA_CONFIG": str(tmp_path / "other.toml")}, tmp_path)


def test_an_address_of_an_email_is_a_plain_one(tmp_path: Path):
    email = {"FLOTILLA__EMAIL__HOST": "mail.example", "FLOTILLA__EMAIL__SENDER": "flotilla@example"}

    assert load(email | {"FLOTILLA__EMAIL__TO": "a@example,b@example"}, tmp_path).email.to == ("a@example", "b@example")
    with pytest.raises(Misconfigured, match="no address"):
        load(email | {"FLOTILLA__EMAIL__TO": "A <a@example>"}, tmp_path)
    for odd in ("a;b@example", 'a"@example', "a:b@example", "a@exa\x00mple", "a@[example"):
        with pytest.raises(Misconfigured, match="no address"):
            load(email | {"FLOTILLA__EMAIL__TO": odd}, tmp_path)


def test_a_server_of_emails_that_no_resolver_can_be_asked_for_is_refused(tmp_path: Path):
    email = {"FLOTILLA__EMAIL__SENDER": "flotilla@example", "FLOTILLA__EMAIL__TO": "a@example"}

    assert load(email | {"FLOTILLA__EMAIL__HOST": "bücher.example"}, tmp_path).email.host == "bücher.example"
    for host in ("mail..example.com", "mail example", "m" * 70 + ".example"):
        with pytest.raises(Misconfigured, match=r"email\.host"):
            load(email | {"FLOTILLA__EMAIL__HOST": host}, tmp_path)


def test_no_secret_is_ever_shown(tmp_path: Path):
    settings = load(
        {
            "FLOTILLA__DATABASE__URL": "mysql://me:s3cret@db/flotilla",
            "FLOTILLA__REDIS__URL": "redis://:s3cret@cache:6379/0",
            "FLOTILLA__TELEGRAM__TOKEN": "12345:s3cret",
            "FLOTILLA__TELEGRAM__CHAT_ID": "1",
            "FLOTILLA__WEBHOOK__URL": "https://hooks.example/services/s3cret",
            "FLOTILLA__WEBHOOK__SECRET": "://s3cret",
            "FLOTILLA__EMAIL__PASSWORD": "x://s3cret",
        },
        tmp_path,
    )

    text = json.dumps(shown(settings))

    assert "s3cret" not in text
    assert "db/flotilla" in text


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("redis://cache/0?password=s3cret", "redis://cache/0?password=********"),
        ("postgresql://db/fl?user=u&password=s3cret", "postgresql://db/fl?user=********&password=********"),
        ("unix:///x.sock?password=s3cret&db=2", "unix:///x.sock?password=********&db=2"),
        ("mysql://u:pa/s3cret@db/fl", "mysql://u:********@db/fl"),
        ("mysql://u:pa#s3cret@db/fl", "mysql://u:********@db/fl"),
        ("mysql://u:pa?s3cret@db/fl?charset=utf8mb4", "mysql://u:********@db/fl?charset=utf8mb4"),
        ("mysql://u:pa@s3cret@db/fl", "mysql://u:********@db/fl"),
        ("mysql://u:s3cret:s3cret@db/fl", "mysql://u:********@db/fl"),
        ("redis://:s3cret@cache:6379/0", "redis://:********@cache:6379/0"),
        ("redis://cache/0?password=pa@s3cret", "redis://********"),
        ("redis://u:s3cret@cache/0?password=pa@s3cret", "redis://********"),
        ("redis://cache/0?db=0;password=s3cret", "redis://cache/0?db=********"),
        ("redis://cache/0?password=pa&s3cret", "redis://cache/0?password=********&********"),
        ("12345:s3cret", "********"),
        ("mysql://me@db/fl?sslmode=require", "mysql://me@db/fl?sslmode=require"),
        ("sqlite:///fl.db", "sqlite:///fl.db"),
        ("", ""),
    ],
)
def test_an_address_stays_recognisable_without_what_opens_it(address: str, seen: str):
    assert hide(address) == seen


@pytest.mark.parametrize(("content", "said"), [(b"", "empty"), (b" \n", "empty"), (b"\xff\xfe", "UTF-8")])
def test_a_secret_file_without_a_secret_is_refused_and_named(tmp_path: Path, content: bytes, said: str):
    (tmp_path / "url").write_bytes(content)

    with pytest.raises(Misconfigured, match=rf"FLOTILLA__DATABASE__URL_FILE.*{said}"):
        load({"FLOTILLA__DATABASE__URL_FILE": str(tmp_path / "url")}, tmp_path)


def test_a_relative_path_begins_at_the_projects_folder_wherever_a_process_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "own.toml").write_text("[api]\nport = 9000\n", encoding="utf-8")
    (tmp_path / "token").write_text("t", encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    settings = load(
        {
            "FLOTILLA_CONFIG": "own.toml",
            "FLOTILLA__TELEGRAM__TOKEN_FILE": "token",
            "FLOTILLA__TELEGRAM__CHAT_ID": "1",
            "FLOTILLA__DATABASE__URL": "sqlite:///rel.db?timeout=5",
        },
        tmp_path,
    )

    assert (settings.api.port, settings.telegram.token) == (9000, "t")
    assert settings.database_url == f"sqlite:///{ROOT}/rel.db?timeout=5"


@pytest.mark.parametrize("url", ["sqlite:////srv/fl.db", "sqlite:///:memory:", "sqlite://"])
def test_an_address_of_sqlite_that_is_not_relative_stays_as_it_is(tmp_path: Path, url: str):
    assert load({"FLOTILLA__DATABASE__URL": url}, tmp_path).database_url == url


def test_no_test_and_no_bench_reads_the_settings_of_this_machine():
    assert Path(os.environ["FLOTILLA_CONFIG"]).read_bytes() == b""
    for path in [*ROOT.glob("tests/**/*.py"), *ROOT.glob("ops/bench/*.py")]:
        text = path.read_text(encoding="utf-8")
        forgets_it = re.search(r"startswith\(.FLOTILLA_?.\)", text) and '"FLOTILLA_CONFIG": ' not in text
        assert not forgets_it, f"{path} starts processes without FLOTILLA_CONFIG."


def test_the_example_names_every_setting_with_its_default_and_fits_the_schema(tmp_path: Path):
    text = EXAMPLE.read_text(encoding="utf-8")
    (tmp_path / "flotilla.toml").write_text(text, encoding="utf-8")

    settings = load({}, tmp_path)

    assert settings == load({}, tmp_path / "empty")
    for section, table in shown(settings).items():
        assert f"[{section}]" in text
        for key in table:
            assert f"\n{key} = " in text, f"Document {section}.{key} in {EXAMPLE.name}."
    jsonschema.validate(json.loads(json.dumps(shown(settings))), json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_the_schema_on_file_is_the_one_of_the_code():
    assert SCHEMA.read_text(encoding="utf-8") == settings_module.schema_text(), "Write it anew: make schema"
