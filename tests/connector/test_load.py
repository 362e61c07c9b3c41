"""From a file and settings to a connector that can run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector import load as loading
from tap_saas.connector.check import check
from tap_saas.connector.load import Loaded, load, locate
from tap_saas.connector.merge import merged
from tap_saas.errors import ConfigError, ConnectorError

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.yaml"))
STREAM = "  orders: {path: /orders, primary_key: [id], pagination: {type: single}}\n"
BASE = "base_url: https://api.example\n"


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """Load a connector of this text."""

    def loader(text: str, settings: dict[str, Any] | None = None, **env: str) -> Loaded:
        path = tmp_path / "acme.yaml"
        path.write_text(text)
        return load(path, settings, env)

    return loader


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p.stem != "counted"], ids=lambda p: p.stem)
def test_every_example_of_the_language_is_without_mistakes(path: Path) -> None:
    assert check(path) == []


def test_the_first_example_says_what_it_says() -> None:
    path = next(path for path in EXAMPLES if path.stem == "acme")
    loaded = load(path, {"region": "us"}, {"ACME_API_KEY": "k3y"})
    assert loaded.values == {"region": "us", "api_key": "k3y"}
    assert loaded.secrets == ["k3y"]
    assert loaded.warnings == []
    assert "k3y" not in repr(loaded.connector)
    orders, lines = loaded.connector.streams.values()
    assert (orders.name, orders.replication_key, orders.key_columns) == (
        "orders",
        "updated_at",
        ("id",),
    )
    assert lines.context == ("order_id",)
    assert lines.incremental is None
    request = lines.build(loaded.values | {"order_id": "a/b c"})
    assert request.url == "https://us.acme.example/v1/orders/a%2Fb%20c/lines"
    assert loaded.connector.budgets["all"].limits[0].per == timedelta(hours=1)


def test_the_large_example_resolves_as_the_language_says() -> None:
    path = next(path for path in EXAMPLES if path.stem == "everything")
    connector = load(path, {"api_key": "k"}, {}).connector
    streams = connector.streams
    assert "grid" not in streams
    assert streams["order_lines"].context == ("account", "order_id", "region")
    assert set(streams["accounts_orders"].budgets) == {"all", "account", "accounts_orders.own"}
    assert "accounts_orders.own" in connector.budgets
    assert connector.check is not None
    assert "all" not in connector.check.budgets
    assert streams["search"].params.names == set()
    assert streams["search"].pagination.size.value == 500  # type: ignore[union-attr]
    assert connector.http.ca_file == str(path.parent / "x.pem")
    assert isinstance(streams["counted"].schema_, dict)
    assert set(load(path, {"api_key": "k", "beta": True}, {}).connector.streams) > set(streams)


def test_a_setting_comes_from_the_config_then_the_variable_then_the_default(file: Any) -> None:
    text = (
        BASE + "settings: {a: {env: ACME_A, default: d}}\nparams: {a: '{a}'}\nstreams:\n" + STREAM
    )
    assert file(text).values == {"a": "d"}
    assert file(text, ACME_A="e").values == {"a": "e"}
    assert file(text, ACME_A="").values == {"a": "d"}
    assert file(text, {"a": "c"}, ACME_A="e").values == {"a": "c"}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "5", "5"),
        ("integer", "5", 5),
        ("number", "5", 5),
        ("boolean", "true", True),
        ("boolean", "0", False),
        ("array", "[1, 2]", [1, 2]),
        ("array", "eu, us", ["eu", "us"]),
        ("object", '{"a": 1}', {"a": 1}),
    ],
)
def test_a_variable_is_read_as_the_type_of_its_setting(
    kind: str, text: str, value: Any, file: Any
) -> None:
    setting = f"settings: {{a: {{env: ACME_A, type: {kind}}}}}\nparams: {{a: '{{a}}'}}\n"
    loaded = file(BASE + setting + "streams:\n" + STREAM, ACME_A=text)
    assert loaded.values == {"a": value}


WHOLE = "the setting a is not a whole number; give one such as 100"
PATTERN = "the setting a does not fit the pattern [a-z]+; correct it"


@pytest.mark.parametrize(
    ("setting", "given", "line"),
    [
        ("{}", {}, "the setting a is missing; set settings.a"),
        ("{env: A_KEY}", {}, "the setting a is missing; set settings.a or the variable A_KEY"),
        ("{description: Any}", {}, "the setting a is missing; set settings.a (Any)"),
        ("{type: integer}", {"a": "x"}, WHOLE),
        ("{type: integer}", {"a": True}, WHOLE),
        ("{type: boolean}", {"a": "maybe"}, "the setting a is not true or false; give one of them"),
        ("{type: array}", {"a": {}}, "the setting a is not a list; give one such as [a, b]"),
        ("{type: object}", {"a": "[1"}, "the setting a is not an object; give one such as {a: 1}"),
        ("{type: number}", {"a": "nan"}, "the setting a is not a number; give one such as 1.5"),
        ("{}", {"a": 5}, "the setting a is not a text; quote it"),
        ("{enum: [eu, us]}", {"a": "de"}, "the setting a is none of eu, us; use one of them"),
        ("{pattern: '[a-z]+'}", {"a": "eu1"}, PATTERN),
        ("{secret: true, type: integer}", {"a": "s3cret"}, WHOLE),
        ("{default: x}", {"aa": "x"}, 'there is no setting "aa"; did you mean "a"?'),
    ],
)  # fmt: skip
def test_wrong_settings_are_told(setting: str, given: dict[str, Any], line: str, file: Any) -> None:
    text = BASE + f"settings: {{a: {setting}}}\nparams: {{a: '{{a}}'}}\nstreams:\n" + STREAM
    with pytest.raises(ConfigError) as caught:
        file(text, given)
    assert str(caught.value) == line


def test_all_wrong_settings_are_told_at_once(file: Any) -> None:
    text = BASE + "settings: {a: {}, b: {type: integer}}\nparams: {a: '{a}', b: '{b}'}\nstreams:\n"
    with pytest.raises(ConfigError) as caught:
        file(text + STREAM, {"b": "x"})
    assert len(str(caught.value).splitlines()) == 2


SELECT = """\
settings: {how: {enum: [key, basic]}, key: {secret: true}, user: {}, password: {secret: true}}
auth:
  type: select
  by: how
  of:
    key: {type: bearer, token: "{key}"}
    basic: {type: basic, user: "{user}", password: "{password}"}
streams:
"""


def test_a_branch_that_is_not_taken_asks_for_nothing(file: Any) -> None:
    loaded = file(BASE + SELECT + STREAM, {"how": "key", "key": "k"})
    assert loaded.values == {"how": "key", "key": "k"}
    with pytest.raises(ConfigError) as caught:
        file(BASE + SELECT + STREAM, {"how": "basic"})
    assert [line.split()[2] for line in str(caught.value).splitlines()] == ["user", "password"]


def test_a_choice_without_a_branch_is_told(file: Any) -> None:
    text = (BASE + SELECT + STREAM).replace("{enum: [key, basic]}", "{}")
    with pytest.raises(
        ConfigError, match=r"the setting how chooses nothing; use one of key, basic"
    ):
        file(text, {"how": "x", "key": "k", "user": "u", "password": "p"})


SIZE = """\
settings: {size: {type: integer, required: false}, secret: {secret: true, required: false}}
streams:
  orders:
    path: /orders
    primary_key: [id]
    auth: {type: bearer, token: "{secret}"}
    params: {limit: "{size}", fixed: "1", nested: ["{size}"]}
    body: {json: {page: {size: "{size}"}, keep: 1}}
    pagination: {type: offset, size: {send: param:limit, value: "{size}"}}
"""


def test_a_text_that_is_one_setting_alone_keeps_its_type(file: Any) -> None:
    orders = file(BASE + SIZE, {"size": "25"}).connector.streams["orders"]
    assert orders.pagination.size.value == 25
    assert orders.params.fill({}) == (("limit", "25"), ("fixed", "1"), ("nested", "25"))
    assert orders.body.fill({}).value == {"page": {"size": 25}, "keep": 1}


def test_a_setting_without_a_value_takes_its_text_away(file: Any) -> None:
    text = BASE + SIZE.replace(', value: "{size}"', ", value: 10")
    loaded = file(text)
    orders = loaded.connector.streams["orders"]
    assert orders.params.fill(loaded.values) == (("fixed", "1"),)
    assert orders.body.fill(loaded.values).value == {"keep": 1}
    request = orders.build(loaded.values)
    assert orders.auth[0].sign(request, loaded.values) == request


def test_a_needed_setting_without_a_value_is_a_mistake(file: Any) -> None:
    with pytest.raises(ConnectorError, match=r"the setting size has no value; set it"):
        file(BASE + SIZE)


def test_a_secret_is_never_in_the_model(file: Any) -> None:
    text = BASE + SIZE.replace(', value: "{size}"', ", value: 10")
    loaded = file(text, {"secret": "h1dden", "size": 1})
    assert "h1dden" not in repr(loaded.connector)
    assert loaded.secrets == ["h1dden"]
    request = loaded.connector.streams["orders"].build(loaded.values)
    signed = loaded.connector.streams["orders"].auth[0].sign(request, loaded.values)
    assert ("Authorization", "Bearer h1dden") in signed.headers


def test_a_value_with_braces_is_no_template(file: Any) -> None:
    text = BASE + "settings: {q: {}}\nparams: {q: '{q}'}\nstreams:\n" + STREAM
    loaded = file(text, {"q": "{start} and {x"})
    request = loaded.connector.streams["orders"].build(loaded.values)
    assert request.params == (("q", "{start} and {x"),)


def test_a_stream_overrides_defaults_and_defaults_the_file(file: Any) -> None:
    text = (
        BASE
        + "headers: {A: file, B: file, C: file}\n"
        + "defaults:\n  headers: {B: defaults, C: defaults}\n  primary_key: [id, a]\n"
        + "  pagination: {type: offset, size: 5, stop: [short]}\n"
        + "  retry: {attempts: 3}\n  version: v\n"
        + "streams:\n  a: {path: /a, headers: {C: own}, primary_key: [x], version: null}\n"
        + "  b: {path: /b, pagination: {type: single}, headers: {A: null}}\n"
        + "  c: {path: /c, pagination: {size: 7}, base_url: 'https://other.example'}\n"
    )
    a, b, c = file(text).connector.streams.values()
    assert a.headers.fill({}) == {"A": "file", "B": "defaults", "C": "own"}
    assert a.key_columns == ("x",)
    assert a.version_kind is None
    assert (a.retry.attempts, a.retry.max) == (3, timedelta(seconds=60))
    assert b.headers.fill({}) == {"B": "defaults", "C": "defaults"}
    assert b.version_column == "v"
    assert (c.pagination.size, c.pagination.stop) == (7, ["short"])
    assert c.build({}).url == "https://other.example/c"


SMALL = st.recursive(
    st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
MAPS = st.dictionaries(st.sampled_from("abcd"), SMALL, max_size=4)


@given(MAPS, MAPS)
def test_merging_keeps_every_own_value_and_every_default_beside_it(base: Any, own: Any) -> None:
    result = merged(base, own)
    assert merged(result, own) == result
    assert merged({}, own) == own
    assert merged(base, {}) == base
    for key in base.keys() | own.keys():
        if key not in own:
            assert result[key] == base[key]
        elif isinstance(own[key], dict) and isinstance(base.get(key), dict):
            assert result[key] == merged(base[key], own[key])
        else:
            assert result[key] == own[key]


@given(MAPS, MAPS)
def test_what_a_stream_takes_away_is_gone(base: Any, own: Any) -> None:
    others = {key: value for key, value in own.items() if key not in base}
    assert merged(base, dict.fromkeys(base) | others) == others


def test_a_null_that_takes_nothing_away_is_a_null() -> None:
    assert merged({"json": {"a": 1}}, {"json": {"b": None}}) == {"json": {"a": 1, "b": None}}


def test_a_map_of_another_type_replaces_the_whole() -> None:
    base = {"pagination": {"type": "cursor", "next": "$.n", "size": 5}}
    assert merged(base, {"pagination": {"type": "single"}}) == {"pagination": {"type": "single"}}


def test_a_child_does_not_cross_its_parents_accounts_again(file: Any) -> None:
    text = (
        BASE
        + "settings: {accounts: {type: array, default: [a]}}\n"
        + "defaults:\n  for_each: {setting: accounts, as: account}\n  primary_key: [id]\n"
        + "  pagination: {type: single}\n"
        + "streams:\n  orders: {path: '/{account}/orders'}\n"
        + "  lines: {path: '/{account}/{order}', parents: "
        + "[{stream: orders, values: {order: $.id}}]}\n"
    )
    orders, lines = file(text).connector.streams.values()
    assert orders.for_each is not None
    assert lines.for_each is None
    assert lines.context == ("account", "order")


def test_a_parent_that_is_switched_off_is_told(file: Any) -> None:
    text = (
        BASE
        + "settings: {beta: {type: boolean, default: false}}\nstreams:\n"
        + "  orders: {path: /o, if: beta == true, primary_key: [id], pagination: {type: single}}\n"
        + "  lines: {path: '/{o}', primary_key: [id], pagination: {type: single},"
        + " parents: [{stream: orders, values: {o: $.id}}]}\n"
    )
    assert list(file(text, {"beta": True}).connector.streams) == ["orders", "lines"]
    with pytest.raises(ConnectorError, match='the stream "orders" is switched off by its `if`'):
        file(text)


def test_warnings_do_not_stop_a_run(file: Any) -> None:
    loaded = file(BASE + "streams:\n  a: {path: /a, pagination: {type: single}}\n")
    assert [mistake.level for mistake in loaded.warnings] == ["warning"]


def test_a_name_that_is_not_given_is_the_files(file: Any) -> None:
    assert file(BASE + "streams:\n" + STREAM).connector.name == "acme"


@pytest.mark.parametrize(
    ("source", "path"),
    [("./a.yaml", "a.yaml"), ("x/acme", "x/acme"), ("a.yml", "a.yml"), (Path("acme"), "acme")],
)
def test_a_path_names_a_file(source: str | Path, path: str) -> None:
    assert locate(source) == Path(path)


def test_a_bare_name_is_a_bundled_connector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "LIBRARY", tmp_path)
    with pytest.raises(ConfigError, match=r'"stripe"; give the path of a file, such as'):
        locate("stripe")
    (tmp_path / "stripe.yaml").write_text(BASE + "streams:\n" + STREAM)
    assert load("stripe", {}, {}).connector.name == "stripe"
    with pytest.raises(ConfigError) as caught:
        locate("strpe")
    assert str(caught.value) == 'there is no bundled connector "strpe"; did you mean "stripe"?'
