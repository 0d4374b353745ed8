"""The settings tree: precedence, provenance, and what a wrong configuration says."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, ParamSpec, TypeVar

import msgspec
import pytest

from switchgear.assembly.decode import Layer, SettingsError, leaves
from switchgear.assembly.load import (
    Loaded,
    describe,
    environment_layer,
    file_layer,
    find_file,
    flag_layer,
    load,
    validate,
)
from switchgear.assembly.secret import Secret, SecretUrl, withheld
from switchgear.assembly.settings import Settings

Given = ParamSpec("Given")
Tree = TypeVar("Tree", bound=msgspec.Struct)
Pair = tuple[str, str]


class Limit(msgspec.Struct, frozen=True):
    rate: float
    burst: float

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate is {self.rate:g}, above nothing would be right")


class Upstream(msgspec.Struct, frozen=True):
    url: str
    timeout: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class Toy(msgspec.Struct, frozen=True):
    """A tree with one of everything that a room may use."""

    name: str = "toy"
    on: bool = False
    size: Annotated[int, msgspec.Meta(ge=1, le=9)] = 3
    wait: float = 2.0
    form: Literal["json", "console"] = "json"
    tags: tuple[str, ...] = ()
    limit: Limit = Limit(10, 20)
    key: Secret | None = None
    url: SecretUrl | None = None
    upstreams: dict[str, Upstream] = {}
    peers: dict[str, list[str]] = {}


def filed(kind: type[Tree], folder: Path, text: str) -> Loaded[Tree]:
    path = folder / "switchgear.toml"
    path.write_text(text)
    return load(kind, [file_layer(path)])


def from_environment(**variables: str) -> Loaded[Toy]:
    return load(Toy, [environment_layer({f"SWITCHGEAR_{k}": v for k, v in variables.items()})])


def flagged(kind: type[Tree], *pairs: Pair) -> Loaded[Tree]:
    return load(kind, [flag_layer([(key, value, "--set") for key, value in pairs])])


def from_flags(*pairs: Pair) -> Loaded[Toy]:
    return flagged(Toy, *pairs)


def complaint(call: Callable[Given, object], *args: Given.args, **kwargs: Given.kwargs) -> str:
    with pytest.raises(SettingsError) as raised:
        call(*args, **kwargs)
    return str(raised.value)


def test_nothing_is_a_complete_valid_system() -> None:
    loaded = validate(load(Settings, []))
    assert loaded.settings == Settings()
    assert loaded.sources == {}


def test_later_sources_win_and_each_value_knows_where_it_is_from(tmp_path: Path) -> None:
    path = tmp_path / "switchgear.toml"
    path.write_text("[processes]\ngateways = 3\nservices = 4\nworkers = 5\n")
    loaded = load(
        Settings,
        [
            file_layer(path),
            environment_layer(
                {"SWITCHGEAR_PROCESSES__SERVICES": "6", "SWITCHGEAR_PROCESSES__WORKERS": "7"}
            ),
            flag_layer([("processes.workers", "8", "--workers")]),
        ],
    )
    processes = loaded.settings.processes
    assert (processes.gateways, processes.services, processes.workers) == (3, 6, 8)
    told = {path: (value, source) for path, value, source in describe(loaded)}
    assert told["processes.gateways"] == ("3", str(path))
    assert told["processes.services"] == ("6", "SWITCHGEAR_PROCESSES__SERVICES")
    assert told["processes.workers"] == ("8", "--workers")
    assert told["listen.port"] == ("8080", "default")


def test_a_part_of_a_part_keeps_the_rest_of_its_default() -> None:
    assert from_flags(("limit.rate", "5")).settings.limit == Limit(5, 20)


@pytest.mark.parametrize(
    ("pair", "attribute", "value"),
    [
        (("on", "yes"), "on", True),
        (("on", "false"), "on", False),
        (("wait", "250ms"), "wait", 0.25),
        (("wait", "7"), "wait", 7.0),
        (("name", "{odd} = text"), "name", "{odd} = text"),
        (("name", "12"), "name", "12"),
        (("tags", "a, b"), "tags", ("a", "b")),
        (("tags", '["a", "b"]'), "tags", ("a", "b")),
        (("tags", ""), "tags", ()),
        (("limit", "{rate = 1, burst = 2}"), "limit", Limit(1, 2)),
        (("key", '{env = "X"}'), "key", Secret(env="X")),
        (("key.file", "/k"), "key", Secret(file="/k")),
        (("url", "postgresql://u@h/d"), "url", SecretUrl(value="postgresql://u@h/d")),
        (("upstreams.mail.url", "http://m"), "upstreams", {"mail": Upstream("http://m")}),
        (("peers.service", "tcp:a:1,tcp:b:1"), "peers", {"service": ["tcp:a:1", "tcp:b:1"]}),
    ],
)
def test_text_becomes_what_the_setting_wants(pair: Pair, attribute: str, value: object) -> None:
    assert getattr(from_flags(pair).settings, attribute) == value


def test_a_file_may_write_durations_as_people_do(tmp_path: Path) -> None:
    assert filed(Toy, tmp_path, 'wait = "2min"').settings.wait == 120.0


def test_a_rate_is_no_duration(tmp_path: Path) -> None:
    """Else five minutes would be three hundred a second."""
    said = "limit.rate: found the text '5min', where a number would be right"
    assert said in complaint(filed, Toy, tmp_path, '[limit]\nrate = "5min"')
    assert said in complaint(from_flags, ("limit.rate", "5min"))
    assert from_flags(("limit.rate", "5")).settings.limit.rate == 5.0
    said = "wait: found the text 'soon', where a number (a duration in seconds, or such as \"250ms"
    assert said in complaint(from_flags, ("wait", "soon"))


def test_of_the_tree_only_limits_and_shares_are_told_in_no_durations() -> None:
    layer = Layer(msgspec.to_builtins(Settings()), ".".join)
    found = leaves(msgspec.inspect.type_info(Settings), layer, [])
    numbers = [leaf for leaf in found if isinstance(leaf.kind, msgspec.inspect.FloatType)]
    assert {leaf.source for leaf in numbers if not leaf.timed} == {
        "http.idle_reuse",
        "loop.share",
    } | {
        f"gateway.{limit}.{field}"
        for limit in ("address", "principal", "sign_in")
        for field in ("rate", "burst")
    }


def test_tables_merge_by_name_across_sources(tmp_path: Path) -> None:
    path = tmp_path / "switchgear.toml"
    path.write_text('[upstreams.mail]\nurl = "http://m"\n')
    flags = flag_layer(
        [("upstreams.mail.timeout", "3", "--set"), ("upstreams.pay.url", "http://p", "--set")]
    )
    assert load(Toy, [file_layer(path), flags]).settings.upstreams == {
        "mail": Upstream("http://m", 3.0),
        "pay": Upstream("http://p"),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[procesess]\ngateways = 3", "procesess: there is no such setting; did you mean 'pro"),
        ("[processes]\ngatewys = 3", "processes.gatewys: there is no such setting; did you mean"),
        ("http_deadline = 3", "http_deadline: there is no such setting; did you mean 'http.deadl"),
        ("[gateway]\naddress_rate = 3", "did you mean 'address.rate'?"),
        ("[processes]\nzzz = 3", "there are: gateways, services, workers"),
        ('[processes]\ngateways = "two"', "found the text 'two', where a whole number from 1 to"),
        ("[processes]\ngateways = true", "processes.gateways: found true, where a whole number"),
        ("processes = 3", "processes: found 3, where a group of settings would be right: gateways"),
        (
            "[http]\nidle_timeout = inf",
            "http.idle_timeout: found inf, where a finite number above 0",
        ),
        ("[supervisor]\nbeat = -1.0", "supervisor.beat: found -1.0, where a number above 0"),
        ("[http]\nidle_reuse = 2", "found 2, where a number above 0, up to 1 would be right"),
        ('[log]\nlevel = "loud"', "where one of 'debug', 'error', 'info', 'warning' would be"),
        (
            "[http]\nconnect_method = 1",
            "connect_method: found 1, where true or false would be right",
        ),
        ("data = {}", "data: found a table, where a text would be right"),
        ("[listen\nport=1", "is not TOML"),
    ],
)
def test_a_wrong_file_names_the_place_the_source_and_what_would_be_right(
    tmp_path: Path, text: str, said: str
) -> None:
    message = complaint(filed, Settings, tmp_path, text)
    assert said in message
    assert str(tmp_path / "switchgear.toml") in message
    assert "\n" not in message


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    message = complaint(filed, Toy, tmp_path, 'size = 10\nwiat = 1\nform = "x"\n')
    assert len(message.splitlines()) == 3
    assert "size: found 10, where a whole number from 1 to 9 would be right" in message


def test_a_variable_or_flag_is_named_as_it_was_written() -> None:
    assert "(from SWITCHGEAR_SIZE)" in complaint(from_environment, SIZE="0")
    assert "(from SWITCHGEAR_LIMT__RATE)" in complaint(from_environment, LIMT__RATE="0")
    assert "(from --set)" in complaint(from_flags, ("limit.rte", "1"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [("HTTP_DEADLINE", "http.deadline"), ("GATEWAY_ADDRESS_RATE", "gateway.address.rate")],
)
def test_a_variable_with_one_underscore_for_two_is_told_of_it(name: str, meant: str) -> None:
    layer = environment_layer({f"SWITCHGEAR_{name}": "3"})
    message = complaint(load, Settings, [layer])
    assert f"did you mean {meant!r}, whose dot is __ in a variable's name?" in message


def test_a_parts_own_refusal_carries_its_path() -> None:
    assert complaint(from_flags, ("limit.rate", "-1")).startswith("limit: rate is -1, above")


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("gateway.attempts", "0"), "found 0, where a whole number from 1 to 10 would be right"),
        (("gateway.address.rate", "-1"), "found -1.0, where a finite number above 0 would be"),
        (("accounts.default_scopes", "a b"), "found ('a b',), where names without blanks"),
        (("gateway.origins", "https://a.example/"), "found ('https://a.example/',), where origins"),
        (("gateway.origins", "a.example"), "found ('a.example',), where origins as browsers"),
        (("gateway.origins", "https://a.example:443"), "found ('https://a.example:443',), where"),
        (("gateway.origins", "http://a.example:80"), "found ('http://a.example:80',), where"),
        (("gateway.origins", "https://m\xfc.example"), "found ('https://m\xfc.example',), where"),
        (("gateway.csrf.mode", "maybe"), "found the text 'maybe', where one of 'enforce'"),
        (("gateway.csrf.exempt", "sso"), "found ('sso',), where paths of routes (route path 'sso'"),
        (("gateway.cors.max_age", "-1"), "found -1.0, where a number from 0 to 86400"),
    ],
)
def test_a_parts_own_refusal_is_told_of_the_setting(pair: Pair, said: str) -> None:
    told = complaint(flagged, Settings, pair, ("gateway.address.burst", "5"))
    assert told.startswith(f"{pair[0]}: {said}"), told
    assert told.endswith("(from --set)")


def test_origins_that_a_browser_sends() -> None:
    own_port = ("http://[::1]:8080", "https://a:80", "http://a:443")
    for good in ("*", "null", "https://a.example", *own_port, "capacitor://localhost"):
        assert flagged(Settings, ("gateway.origins", good)).settings.gateway.origins == (good,)


@pytest.mark.parametrize("any_page", ["*", "null"])
def test_cookies_are_not_for_any_page(any_page: str) -> None:
    pairs = ("gateway.origins", any_page), ("gateway.cors.credentials", "true")
    told = complaint(flagged, Settings, *pairs)
    assert told.startswith(f"gateway.origins: found ('{any_page}',), where whole origins, neither")
    assert "with cors.credentials would be right" in told


def test_a_missing_required_setting_is_told() -> None:
    assert "'url'" in complaint(from_flags, ("upstreams.mail.timeout", "1"))


@pytest.mark.parametrize("order", [1, -1])
def test_a_whole_and_its_part_from_one_source_contradict(order: int) -> None:
    pairs = [("limit", "{}"), ("limit.rate", "1")][::order]
    assert "set" in complaint(from_flags, *pairs)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("hunter2", "a secret is not written here"),
        ('{env = "A", file = "b"}', "not both"),
        ('{value = "hunter2"}', "a secret is referred to by"),
        ("{}", "a secret is referred to by"),
    ],
)
def test_a_secret_is_referred_to_and_never_repeated(value: str, said: str) -> None:
    message = complaint(from_flags, ("key", value))
    assert said in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@h/d",
        "postgresql://h/d?password=hunter2",
        "postgresql://h/d?sslpassword=hunter2",
        "h/d",
        "http://[",
    ],
)
def test_a_url_with_a_password_or_none_at_all_is_refused(url: str) -> None:
    message = complaint(from_flags, ("url", url))
    assert "hunter2" not in message
    assert "URL" in message


def test_a_secret_never_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEY", "hunter2")
    loaded = from_flags(("key.env", "KEY"), ("url", "postgresql://u@h/d"))
    assert loaded.settings.key is not None
    assert loaded.settings.key.reveal() == "hunter2"
    assert "hunter2" not in f"{describe(loaded)} {loaded!r}"


def test_a_process_that_has_no_use_for_a_secret_is_not_told_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEY", "hunter2")
    loaded = from_flags(("key.env", "KEY"), ("url", "postgresql://u@h/d"))
    sent = msgspec.json.encode(withheld(loaded.settings))
    assert not any(word in sent for word in (b"hunter2", b"KEY", b"postgresql"))
    got = msgspec.json.decode(sent, type=Toy)
    assert got.key is not None
    with pytest.raises(ValueError, match="withheld from this process"):
        got.key.reveal()
    assert got.key.place == "withheld"


def test_validation_finds_secrets_that_are_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KEY", raising=False)
    message = complaint(validate, from_flags(("key.env", "KEY"), ("url.file", f"{tmp_path}/no")))
    assert "key: the environment variable KEY is not set" in message
    monkeypatch.setenv("KEY", "")
    message = complaint(validate, from_flags(("key.env", "KEY"), ("url.file", "a\0b")))
    assert "key: the environment variable KEY is empty" in message
    assert message.endswith(": there is a NUL in its name (from --set)"), message
    message = complaint(validate, from_flags(("key.env", "KEY"), ("url.file", f"{tmp_path}/no")))
    assert f"url: cannot read the secret's file {tmp_path}/no" in message


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("supervisor.unroutable", "1.5"), "supervisor: unroutable (1.5 s) must be at least two"),
        (("supervisor.hung", "2"), "hung (2 s) must be longer than unroutable (3 s)"),
        (("supervisor.restart_most", "10ms"), "restart_most (0.01 s) must not be below"),
        (("supervisor.lame_duck", "19"), "lame_duck (19 s) must leave drain_least (2 s) of the"),
        (("admin.port", "8080"), "listen and admin both want port 8080"),
        (("data", ""), "data must name a folder"),
        (
            ("peers.service", "nonsense"),
            "peers.service: 'nonsense' is no address of a process; tcp:",
        ),
        (("peers.service", "tcp:a:1,tcp:a:x"), "peers.service: 'tcp:a:x' is no address"),
        (("peers.service", "tcp:a:65536"), "'tcp:a:65536' is no address"),
        (("peers.service", "unix:"), "'unix:' is no address"),
        (("http.deadline", "0"), "http.deadline: found the text '0', where a number above 0"),
        (("http.idle_timeout", "-1"), "http.idle_timeout: found the text '-1', where a number"),
        (("http.connections", "0"), "where a whole number of at least 1 would be right"),
        (("http.body_bytes", "-1"), "where a whole number of at least 0 would be right"),
        (
            ("http.deadline", "inf"),
            "http.deadline: found the text 'inf', where a finite number above 0",
        ),
        (("gateway.leeway", "-inf"), "gateway.leeway: found the text '-inf', where a"),
        (("listen.backlog", "99999999999"), "where a whole number from 1 to 65535 would be right"),
        (("accounts.issuer", "a\0b"), "accounts.issuer: found the text 'a\\x00b', where a text"),
        (("gateway.origins", "https://a\0b"), "where a list, each item a text, without NUL"),
        (("accounts.passwords.memory_kib", "1"), "a whole number from 8 to 1048576 would be"),
        (("client.lifetime", "nan"), "client.lifetime: found the text 'nan', where a number"),
    ],
)
def test_validation_finds_contradictions(pair: Pair, said: str) -> None:
    assert said in complaint(lambda: validate(flagged(Settings, pair)))


@pytest.mark.parametrize(
    ("listen", "admin", "meet"),
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("10.0.0.1", "0.0.0.0", True),
        ("localhost", "127.0.0.1", True),
        ("[::]", "::1", True),
        ("::", "127.0.0.1", False),
        ("10.0.0.1", "127.0.0.1", False),
    ],
)
def test_one_port_at_hosts_of_which_one_is_all_of_them(listen: str, admin: str, meet: bool) -> None:
    given = flagged(
        Settings, ("listen.host", listen), ("admin.host", admin), ("listen.port", "9080")
    )
    if meet:
        assert "listen and admin both want port 9080" in complaint(validate, given)
    else:
        assert validate(given) is given


@pytest.mark.parametrize("size", [1, 31, 32])
def test_validation_finds_a_key_that_can_be_guessed(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "k" * size)
    given = flagged(Settings, ("trust.internal_key.env", "KEY"))
    if size == 32:
        assert validate(given) is given
    else:
        said = complaint(validate, given)
        assert f"trust: internal_key has {size} characters, where 32 random ones" in said
        assert "kk" not in said


def test_a_file_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    assert find_file(tmp_path) is None
    path = tmp_path / "switchgear.toml"
    path.symlink_to("nowhere.toml")
    assert find_file(tmp_path) == path
    assert complaint(file_layer, path) == f"cannot read {path}: No such file or directory"
    path.unlink()
    path.mkdir()
    assert find_file(tmp_path) == path
    assert complaint(file_layer, path) == f"cannot read {path}: Is a directory"


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    assert filed(Toy, tmp_path, '\ufeffname = "marked"').settings.name == "marked"


def test_an_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
    assert complaint(file_layer, tmp_path / "none.toml") == (
        f"cannot read {tmp_path}/none.toml: No such file or directory"
    )
    (tmp_path / "latin.toml").write_bytes(b'data = "\xe9"')
    assert "not UTF-8" in complaint(file_layer, tmp_path / "latin.toml")


@pytest.mark.parametrize(
    "address", ["tcp:10.0.0.7:81", "tcp:shop-1.shop:8081", "tcp:[::1]:81", "unix:/a"]
)
def test_what_is_the_address_of_a_process(address: str) -> None:
    given = flagged(Settings, ("peers.service", address))
    assert validate(given).settings.peers == {"service": [address]}
