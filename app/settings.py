"""What a process must know before it starts. Only shells import this; everything else receives values.

One file, ``flotilla.toml``, then the environment: ``FLOTILLA__API__PORT=8081`` sets ``port`` of ``[api]``. A secret may
stand in a file of its own: ``FLOTILLA__DATABASE__URL_FILE=/run/secrets/db``. Unknown keys and unusable values stop the start.
Relative paths begin at the project's folder, so that every process opens the same file.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from app.domain.market import symbols
from app.errors import InvalidInput, Misconfigured

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "FLOTILLA__"
SECRETS = {
    ("database", "url"),
    ("redis", "url"),
    ("telegram", "token"),
    ("telegram", "base_url"),
    ("webhook", "url"),
    ("webhook", "secret"),
    ("email", "password"),
}
WITHOUT_ADDRESS = (("telegram", "token"), ("webhook", "secret"), ("email", "password"))  # nothing of these may be shown
RENAMED = {"huobi": "htx", "okex": "okx"}  # the documents' names of exchanges that have others today
LISTS = {
    ("feed", "exchanges"),
    ("feed", "symbols"),
    ("feed", "spot_symbols"),
    ("email", "to"),
}  # with commas, in the environment
_MASK = "********"
_HARMLESS = {"charset", "db", "host", "port", "sslmode", "unix_socket", "virtual_host"}  # may be shown, of an address
_PLAIN_ADDRESS = r"""([^@\s<>,"();:\[\]\\\x00-\x1f\x7f]+@[^@\s<>,"();:\[\]\\\x00-\x1f\x7f]+)?"""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_DATABASES = {
    "sqlite": "sqlite",
    "mysql": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
Port = Annotated[int, Meta(ge=1, le=65535)]
Least = Literal["info", "warning", "critical"]
TimeOfDay = Annotated[str, Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9])?$")]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of flotilla.toml."""


class State(Section, frozen=True):
    """Where everything that this fleet remembers is kept."""

    dir: Annotated[str, Meta(description="The state folder; relative to the project's folder.", min_length=1)] = "./var"


class Api(Section, frozen=True):
    """The HTTP API and its pages."""

    host: Annotated[str, Meta(description="Loopback only, until there are accounts.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="The API's port.")] = 8080


class Database(Section, frozen=True):
    """SQL: SQLite inside the state folder, or a server."""

    url: Annotated[
        str,
        Meta(description="Empty: SQLite in the state folder. Else mysql://user:password@host/name or postgresql://..."),
    ] = ""
    pool_size: Annotated[int, Meta(ge=1, le=50, description="Connections that one process keeps.")] = 3


class Redis(Section, frozen=True):
    """The broker and cache: a Valkey of our own, or an existing Redis."""

    url: Annotated[
        str, Meta(description="Empty: a Valkey under supervisord. Else redis://host:6379/0, rediss:// or unix:///path.")
    ] = ""


class Feed(Section, frozen=True):
    """Where market data come from, and how much of them."""

    exchanges: Annotated[
        tuple[str, ...],
        Meta(description="demo, or live ones: binance, okx, htx by streams, any other of ccxt by REST. Empty: none."),
    ] = ("demo",)
    symbols: Annotated[
        tuple[str, ...],
        Meta(
            description="Watched from the first start on; later /api/v1/symbols decides. Empty: the demo's, or the 13 largest."
        ),
    ] = ()
    spot_symbols: Annotated[
        tuple[str, ...],
        Meta(description="Spot pairs that are watched beside the perpetuals, for arbitrage."),
    ] = ("BTC/USDT", "ETH/USDT", "BNB/USDT", "ETH/BTC", "BNB/BTC")
    proxies: Annotated[
        bool, Meta(description="Reach exchanges through HTTP_PROXY and the like of the environment.")
    ] = False
    books: Annotated[int, Meta(ge=0, le=1000, description="So many symbols of an exchange have a deep book.")] = 13
    flush_ms: Annotated[int, Meta(ge=10, le=10_000, description="How often what was collected is written.")] = 50
    keep_waiting: Annotated[
        int,
        Meta(
            ge=1_000,
            le=1_000_000,
            description="Rows that wait in memory while the database is away; then the oldest go.",
        ),
    ] = 20_000


class Demo(Section, frozen=True):
    """The demo exchange: a generated market behind the protocols of Binance, OKX and HTX."""

    port: Annotated[Port, Meta(description="Where the demo exchange listens.")] = 8090
    seed: Annotated[int, Meta(ge=0, le=2**31, description="The same seed makes the same market.")] = 1
    symbols: Annotated[int, Meta(ge=1, le=1000, description="How many perpetuals it trades.")] = 13
    speed: Annotated[
        float,
        Meta(ge=0.1, le=1000, description="How fast its clock runs; the whole fleet takes its market time from it."),
    ] = 1.0


class Binance(Section, frozen=True):
    """Where Binance is: another host for a mirror, a proxy or a test."""

    futures_rest: Annotated[str, Meta(description="USDT-M futures.")] = "https://fapi.binance.com"
    futures_stream: Annotated[str, Meta(description="USDT-M futures.")] = "wss://fstream.binance.com"
    spot_rest: Annotated[str, Meta(description="Spot.")] = "https://api.binance.com"
    spot_stream: Annotated[str, Meta(description="Spot.")] = "wss://stream.binance.com:9443"


class Okx(Section, frozen=True):
    """Where OKX is."""

    rest: Annotated[str, Meta(description="All markets.")] = "https://www.okx.com"
    stream: Annotated[str, Meta(description="Public channels.")] = "wss://ws.okx.com:8443/ws/v5/public"
    business_stream: Annotated[str, Meta(description="Candles come from here.")] = (
        "wss://ws.okx.com:8443/ws/v5/business"
    )


class Htx(Section, frozen=True):
    """Where HTX (Huobi) is."""

    spot_rest: Annotated[str, Meta(description="Spot.")] = "https://api.huobi.pro"
    spot_stream: Annotated[str, Meta(description="Spot.")] = "wss://api.huobi.pro/ws"
    spot_feed: Annotated[str, Meta(description="Spot books, change by change.")] = "wss://api.huobi.pro/feed"
    futures_rest: Annotated[str, Meta(description="USDT-M swaps.")] = "https://api.hbdm.com"
    futures_stream: Annotated[str, Meta(description="USDT-M swaps.")] = "wss://api.hbdm.com/linear-swap-ws"
    index_stream: Annotated[str, Meta(description="Funding and marks of swaps.")] = (
        "wss://api.hbdm.com/linear-swap-notification"
    )


class Backup(Section, frozen=True):
    """Copies of the database in the state folder, made every night."""

    enabled: Annotated[bool, Meta(description="Whether the night makes one; `flotilla backup create` always does.")] = (
        True
    )
    keep_daily: Annotated[int, Meta(ge=1, le=366, description="Of so many days the newest stays.")] = 7
    keep_weekly: Annotated[int, Meta(ge=0, le=520, description="Of so many weeks the newest stays.")] = 4


class Clock(Section, frozen=True):
    """The hours of the people, for jobs that run at night."""

    timezone: Annotated[str, Meta(description="An IANA name; nightly jobs follow it. Stored times are always UTC.")] = (
        "UTC"
    )


class Log(Section, frozen=True):
    """Logs are JSON lines in the state folder's log/, rotated by supervisord."""

    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="The least level that is written.")
    ] = "INFO"


class Telegram(Section, frozen=True):
    """Telling a person. Without a token, notices stay in the log and on the page `/`."""

    token: Annotated[str, Meta(description="The bot's token.")] = ""
    chat_id: Annotated[str, Meta(description="The only chat that is written to.")] = ""
    base_url: Annotated[str, Meta(description="The Bot API; another one for tests or a proxy.")] = (
        "https://api.telegram.org"
    )


class Alerts(Section, frozen=True):
    """When a person may be woken."""

    quiet_from: Annotated[
        TimeOfDay,
        Meta(description="Such as 22:00. From then on only what is critical is told; the rest waits for quiet_to."),
    ] = ""
    quiet_to: Annotated[TimeOfDay, Meta(description="By the clock of clock.timezone, such as 07:00.")] = ""


class Webhook(Section, frozen=True):
    """Telling a program: each message is sent to it as JSON."""

    url: Annotated[str, Meta(description="Where to; empty: nowhere.")] = ""
    secret: Annotated[str, Meta(description="Signs each message (X-Flotilla-Signature); empty: unsigned.")] = ""
    least: Annotated[Least, Meta(description="The least level that is sent.")] = "info"


class Email(Section, frozen=True):
    """Telling a person by e-mail."""

    host: Annotated[str, Meta(description="The SMTP server; empty: no e-mail.")] = ""
    port: Annotated[Port, Meta(description="587 for starttls, 465 for tls, 25 for none.")] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"], Meta(description="How the connection is encrypted; none: not at all.")
    ] = "starttls"
    user: Annotated[str, Meta(description="Empty: no login.")] = ""
    password: Annotated[str, Meta(description="The password of user.")] = ""
    sender: Annotated[str, Meta(description="The address that it comes from.")] = ""
    to: Annotated[tuple[str, ...], Meta(description="The addresses that it goes to.")] = ()
    least: Annotated[Least, Meta(description="The least level that is sent.")] = "critical"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of flotilla.toml."""

    state: State = State()
    api: Api = Api()
    database: Database = Database()
    redis: Redis = Redis()
    feed: Feed = Feed()
    demo: Demo = Demo()
    binance: Binance = Binance()
    okx: Okx = Okx()
    htx: Htx = Htx()
    backup: Backup = Backup()
    clock: Clock = Clock()
    log: Log = Log()
    telegram: Telegram = Telegram()
    alerts: Alerts = Alerts()
    webhook: Webhook = Webhook()
    email: Email = Email()

    @property
    def state_dir(self) -> Path:
        """The state folder, absolute."""
        return (ROOT / Path(self.state.dir).expanduser()).resolve()

    @property
    def run_dir(self) -> Path:
        """Heartbeats, sockets and snapshots."""
        return self.state_dir / "run"

    @property
    def notices_dir(self) -> Path:
        """What a person is to be told, until it was delivered."""
        return self.state_dir / "notices"

    @property
    def log_dir(self) -> Path:
        """One file of JSON lines for each process."""
        return self.state_dir / "log"

    @property
    def archive_dir(self) -> Path:
        """Rows that left the database; what was simulated never stands beside what was not."""
        return self._of_this_world / "archive"

    @property
    def backup_dir(self) -> Path:
        """Copies of the database."""
        return self._of_this_world / "backups"

    @property
    def _of_this_world(self) -> Path:
        return self.state_dir / "demo" if self.simulated else self.state_dir

    @property
    def supervisor_socket(self) -> Path:
        """Where supervisord listens."""
        return self.run_dir / "supervisor.sock"

    @property
    def broker_socket(self) -> Path:
        """Where the embedded broker listens: a socket file has an owner and needs no port."""
        return self.run_dir / "broker.sock"

    @property
    def simulated(self) -> bool:
        """Whether the market is the demo exchange's."""
        return "demo" in self.feed.exchanges

    @property
    def embedded_broker(self) -> bool:
        """Whether supervisord runs a Valkey of our own."""
        return not self.redis.url

    @property
    def unneeded(self) -> frozenset[str]:
        """Processes of supervisord.conf that these settings leave at rest."""
        idle = set() if self.embedded_broker else {"broker"}
        return frozenset(idle if self.simulated else {*idle, "demo-exchange"})

    @property
    def database_url(self) -> str:
        """The address as SQLAlchemy wants it."""
        if not self.database.url:
            name = "demo.db" if self.simulated else "flotilla.db"  # what was simulated never stands beside what was not
            return f"sqlite:///{self.state_dir / name}"
        scheme, _, rest = self.database.url.partition("://")
        if scheme == "sqlite" and re.match(r"/(?!/|:memory:|file:)[^?]", rest):
            rest = f"/{ROOT}{rest}"
        return f"{_DATABASES[scheme]}://{rest}"

    @property
    def redis_url(self) -> str:
        """The address as redis-py wants it."""
        return self.redis.url or f"unix://{self.broker_socket}"

    @property
    def address(self) -> str:
        """Where a person's browser finds us."""
        host = f"[{self.api.host}]" if ":" in self.api.host else self.api.host
        return f"http://{host}:{self.api.port}"


def load(env: Mapping[str, str], root: Path = ROOT) -> Settings:
    """Read flotilla.toml and the environment. Raises Misconfigured with the cure in its message."""
    named = env.get("FLOTILLA_CONFIG", "")
    path = root / (named or "flotilla.toml")
    tree = _read_file(path, must_exist=bool(named))
    _refuse_unknown(tree, str(path))
    for name, text in sorted(env.items()):
        if name.startswith(PREFIX):
            section, key, value = _read_variable(name, text, root)
            tree.setdefault(section, {})[key] = value
    _refuse_zero_bytes(tree)
    names = tree.get("feed", {}).get("exchanges")
    if isinstance(names, list):
        tree["feed"]["exchanges"] = [RENAMED.get(name, name) if isinstance(name, str) else name for name in names]
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise Misconfigured(_explain(str(error), path)) from error
    _check(settings)
    return settings


def _refuse_zero_bytes(tree: Mapping[str, Any]) -> None:
    """No path and no address can hold one; whoever is given it fails in words of its own."""
    for section, fields in tree.items():
        for key, value in fields.items() if isinstance(fields, dict) else ():
            if isinstance(value, str) and "\0" in value:
                raise Misconfigured(f"{section}.{key} holds a zero byte.", cure="Write it anew, without that.")


def schema() -> dict[str, Any]:
    """The JSON schema of flotilla.toml, as it stands in ops/config/flotilla.schema.json."""
    made = msgspec.json.schema(Settings)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "flotilla.toml", **made}


def shown(settings: Settings) -> dict[str, dict[str, Any]]:
    """Every setting as a person may see it: secrets are hidden."""
    tree: dict[str, dict[str, Any]] = msgspec.to_builtins(settings)
    for section, key in SECRETS:
        tree[section][key] = hide(tree[section][key])
    for section, key in WITHOUT_ADDRESS:
        if tree[section][key]:
            tree[section][key] = _MASK
    if host := urlsplit(settings.webhook.url).hostname:  # the path of a webhook is often all that protects it
        tree["webhook"]["url"] = f"{urlsplit(settings.webhook.url).scheme}://{host}/{_MASK}"
    return tree


def hide(secret: str) -> str:
    """Keep what helps to recognise an address, never what opens it. In doubt about where a password ends, more is hidden."""
    scheme, mark, rest = secret.partition("://")
    if not mark:
        return _MASK if secret else ""
    access, at, place = rest.rpartition("@")
    if re.search(r"\?.*=", access, re.DOTALL):  # this @ may belong to a password in the query
        return f"{scheme}://{_MASK}"
    user = re.split(r"[:/?#@]", access, maxsplit=1)[0]
    place, question, query = place.partition("?")
    parameters = "&".join(_hide_parameter(parameter) for parameter in query.split("&"))
    return f"{scheme}://{user}{'' if user == access else ':' + _MASK}{at}{place}{question}{parameters if query else ''}"


def _hide_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if name in _HARMLESS and re.fullmatch(r"[\w./-]*", value):
        return parameter
    return f"{name}={_MASK}" if equals else _MASK


def _read_file(path: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise Misconfigured(
                f"FLOTILLA_CONFIG names {path}, which does not exist.", cure="Name an existing file."
            ) from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} is not valid TOML: {error}.") from error
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}.") from error


def _read_variable(name: str, text: str, root: Path) -> tuple[str, str, Any]:
    section, _, key = name.removeprefix(PREFIX).lower().partition("__")
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # bytes of another encoding
        raise Misconfigured(f"{name} is not UTF-8 text.", cure=f"Set {name} anew, in UTF-8.")
    if key.endswith("_file") and (section, key.removesuffix("_file")) in SECRETS:
        return section, key.removesuffix("_file"), _read_secret(name, root / text)
    _refuse_unknown({section: {key: text}}, f"the environment ({name})")
    if (section, key) in LISTS:
        return section, key, [part.strip() for part in text.split(",") if part.strip()]
    return section, key, text


def _read_secret(name: str, path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise Misconfigured(
            f"{name} names {path}, which is not UTF-8 text."
        ) from None  # the cause would show its bytes
    except OSError as error:
        raise Misconfigured(f"{name} names {path}, which cannot be read: {error.strerror}.") from error
    if not secret:
        raise Misconfigured(f"{name} names {path}, which is empty.", cure=f"Write the secret into it, or unset {name}.")
    return secret


def _refuse_unknown(tree: Mapping[str, Any], where: str) -> None:
    sections = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    for section, table in tree.items():
        if section not in sections:
            raise Misconfigured(f"Unknown section [{section}] in {where}. {_nearest(section, list(sections))}")
        if not isinstance(table, Mapping):
            raise Misconfigured(f"{section} in {where} must be a section: [{section}].")
        keys = [field.name for field in msgspec.structs.fields(sections[section])]
        for key in table:
            if key not in keys:
                raise Misconfigured(f"Unknown key {key!r} of [{section}] in {where}. {_nearest(key, keys)}")


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."


def _explain(message: str, path: Path) -> str:
    """Turn msgspec's `Expected `int` <= 65535 - at `$.api.port`` into a sentence with the setting's two names."""
    what, _, where = message.partition(" - at ")
    dotted = re.sub(r"[`$]|\[.*\]", "", where).strip(".")
    variable = PREFIX + dotted.upper().replace(".", "__")
    may_be = _may_be(dotted)
    return f"{dotted} cannot be used: {what}.{may_be} Set it in {path.name}, or as {variable}."


def _may_be(dotted: str) -> str:
    """What a setting may be, where it is one of some words or of a form."""
    schema = msgspec.json.schema(Settings)["$defs"]
    section, _, key = dotted.partition(".")
    try:
        fields = schema["Settings"]["properties"][section]
        known = schema[fields.get("$ref", fields.get("anyOf", [{}])[0].get("$ref", "")).rpartition("/")[2]]
        found = known["properties"][key]
    except (KeyError, IndexError):
        return ""
    if "enum" in found:
        return f" It may be {', '.join(map(str, found['enum']))}."
    return f" {found['description']}" if "pattern" in found and "description" in found else ""


def _check(settings: Settings) -> None:
    _check_addresses(settings)
    _check_feed(settings)
    try:
        _ = settings.state_dir
    except RuntimeError as error:
        raise Misconfigured(f"state.dir {settings.state.dir!r} cannot be used: {error}") from error
    try:
        ZoneInfo(settings.clock.timezone)
    except (KeyError, ValueError, OSError) as error:
        raise Misconfigured(
            f"clock.timezone {settings.clock.timezone!r} is unknown.",
            cure="Use an IANA name such as Asia/Shanghai or UTC.",
        ) from error
    if bool(settings.telegram.token) != bool(settings.telegram.chat_id):
        raise Misconfigured("telegram needs both token and chat_id.", cure="Set the missing one, or neither.")
    _check_ways(settings)


def _check_ways(settings: Settings) -> None:
    """What tells a person must be usable before it is needed."""
    if bool(settings.alerts.quiet_from) != bool(settings.alerts.quiet_to):
        raise Misconfigured("alerts needs both quiet_from and quiet_to.", cure="Set the missing one, or neither.")
    if settings.webhook.url and not _is_web_address(settings.webhook.url):
        raise Misconfigured("webhook.url is not an http(s) address.", cure="Write it as https://host/path.")
    email = settings.email
    if len({bool(email.host), bool(email.sender), bool(email.to)}) > 1:
        raise Misconfigured("email needs host, sender and to.", cure="Set all three, or none.")
    if email.host and not _is_host(email.host):
        raise Misconfigured(
            f"email.host is {email.host!r}, which is no name of a server.", cure="Write it as mail.host."
        )
    if odd := [address for address in (email.sender, *email.to) if not re.fullmatch(_PLAIN_ADDRESS, address)]:
        raise Misconfigured(f"email has {odd[0]!r}, which is no address.", cure="Write plain ones: name@host.")


def _is_web_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and parts.port != 0 and _is_host(parts.hostname or "", address)
    except ValueError:
        return False


def _is_host(host: str, address: str = "") -> bool:
    """Whether a resolver can be asked for it, and nothing unprintable stands in the address around it."""
    try:
        return bool(host.encode("idna")) and not re.search(r"[\s\x00-\x1f\x7f]", address or host)
    except ValueError:  # such as of hook..example
        return False


def _check_addresses(settings: Settings) -> None:
    if settings.api.host not in LOOPBACK:
        raise Misconfigured(
            f"api.host is {settings.api.host!r}, but there are no accounts yet, so the API listens on loopback only.",
            cure="Set api.host to 127.0.0.1 and reach it from elsewhere through an SSH tunnel.",
        )
    scheme = settings.database.url.partition("://")[0]
    if settings.database.url and (scheme not in _DATABASES or "://" not in settings.database.url):
        raise Misconfigured(
            "database.url is not an address that Flotilla knows.",
            cure="Use sqlite:///path, mysql://user:password@host/name or postgresql://user:password@host/name.",
        )
    if settings.redis.url and not re.match(r"(redis|rediss|unix)://.", settings.redis.url):
        raise Misconfigured(
            "redis.url is not an address of a Redis.",
            cure="Use redis://host:6379/0, rediss://host:6379/0 or unix:///path.",
        )
    if not _is_web_address(settings.telegram.base_url):
        raise Misconfigured(
            "telegram.base_url is not an http(s) address.", cure="Use https://api.telegram.org or a proxy."
        )
    for section in (settings.binance, settings.okx, settings.htx):
        for key, address in msgspec.structs.asdict(section).items():
            wanted = "https?" if key.endswith("rest") else "wss?"
            if not re.match(rf"{wanted}://[^/]", address):
                raise Misconfigured(
                    f"{type(section).__name__.lower()}.{key} is {address!r}.",
                    cure=f"Write an address that begins with {wanted.rstrip('?')}://.",
                )


def _check_feed(settings: Settings) -> None:
    for name in settings.feed.exchanges:
        if not re.fullmatch(r"[a-z][a-z0-9]*", name):
            raise Misconfigured(f"feed.exchanges has {name!r}.", cure="Write names in lower case, such as binance,okx.")
    for key, names, spot in (
        ("symbols", settings.feed.symbols, False),
        ("spot_symbols", settings.feed.spot_symbols, True),
    ):
        try:
            _ = [symbols.parse(name, spot=spot) for name in names]
        except InvalidInput as error:
            raise Misconfigured(f"feed.{key}: {error}", cure=error.cure) from None
    if twice := sorted({name for name in settings.feed.exchanges if settings.feed.exchanges.count(name) > 1}):
        old = ", ".join(f"{old} is {new} today" for old, new in RENAMED.items() if new in twice)
        raise Misconfigured(
            f"feed.exchanges names {', '.join(twice)} twice{f' ({old})' if old else ''}.",
            cure="Name each exchange once.",
        )
    if settings.simulated and settings.api.port == settings.demo.port:
        raise Misconfigured(
            f"api.port and demo.port are both {settings.api.port}.", cure="Give one of them another port, such as 8090."
        )
    if settings.simulated and len(settings.feed.exchanges) > 1:
        raise Misconfigured(
            "feed.exchanges mixes the demo exchange with live ones.", cure="Name demo alone, or only live exchanges."
        )


def schema_text() -> str:
    """The schema as the file holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
