"""The table of handlers, policy rules and bodies."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.api import bodies
from penstock.api.bodies import Name, Strict
from penstock.api.fault_bodies import MethodNotAllowed
from penstock.api.http import Answer
from penstock.api.microversion import ApiVersion
from penstock.api.policy import REREAD_S, Policy
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes, Table, choose
from penstock.clock import ManualClock
from penstock.config.loading import load
from penstock.context import RequestContext
from penstock.errors import Forbidden, Invalid, NotFound


def answer(request: ApiRequest) -> Answer:
    return Answer()


@pytest.fixture
def routes() -> Routes:
    found = Routes()
    found.get("things/{thing_id}", "2.0", "2.6")(answer)
    found.get("things/{thing_id}", "2.8")(answer)
    found.get("things/detail")(answer)
    found.get("things/{thing_id}/parts/{part}")(answer)
    found.action("things/{thing_id}/action", "os-grow", "2.0", "2.6")(answer)
    found.action("things/{thing_id}/action", "grow", "2.7")(answer)
    found.post("tests", "2.10", experimental=True)(answer)
    return found


@pytest.mark.parametrize(
    ("path", "params"),
    [
        (("things", "detail"), {}),
        (("things", "7"), {"thing_id": "7"}),
        (("things", "detail", "parts", "x"), {"thing_id": "detail", "part": "x"}),
    ],
)
def test_find(routes: Routes, path: tuple[str, ...], params: dict[str, str]) -> None:
    assert Table([routes]).find("GET", path)[1] == params


def test_find_refuses(routes: Routes) -> None:
    table = Table([routes])
    for path in (("nothing",), ("things", ""), ("things", "7", "parts", ""), ("things",)):
        with pytest.raises(NotFound):
            table.find("GET", path)
    with pytest.raises(MethodNotAllowed) as refusal:
        table.find("PUT", ("things", "7"))
    assert refusal.value.allowed == ("GET",)
    assert table.find("HEAD", ("things", "7"))[0][0].method == "GET"


@pytest.mark.parametrize(("version", "found"), [("2.0", True), ("2.6", True), ("2.7", False), ("2.8", True)])
def test_choose_by_version(routes: Routes, version: str, found: bool) -> None:
    candidates, _ = Table([routes]).find("GET", ("things", "7"))
    if found:
        assert ApiVersion.parse(version) in choose(candidates, ApiVersion.parse(version)).versions
    else:
        with pytest.raises(NotFound):
            choose(candidates, ApiVersion.parse(version))


def test_choose_by_action(routes: Routes) -> None:
    candidates, _ = Table([routes]).find("POST", ("things", "7", "action"))
    old, new = ApiVersion.parse("2.6"), ApiVersion.parse("2.7")
    assert choose(candidates, old, action="os-grow").action == "os-grow"
    assert choose(candidates, new, action="grow").action == "grow"
    with pytest.raises(NotFound):
        choose(candidates, old, action="grow")
    with pytest.raises(Invalid):
        choose(candidates, new, action="dance")


def test_experiments_are_asked_for(routes: Routes) -> None:
    candidates, _ = Table([routes]).find("POST", ("tests",))
    version = ApiVersion.parse("2.10")
    assert choose(candidates, version, experimental=True).is_experimental
    with pytest.raises(NotFound):
        choose(candidates, version)


def test_two_handlers_cannot_claim_one_request(routes: Routes) -> None:
    routes.get("things/{thing_id}", "2.5", "2.7")(answer)
    with pytest.raises(ValueError, match="claimed twice"):
        Table([routes])


MINE = {"project_id": "p", "user_id": "u"}


@pytest.mark.parametrize(
    ("rule", "roles", "project", "allowed"),
    [
        ("share:create", ("member",), "p", True),
        ("share:create", ("Member",), "p", True),
        ("share:create", ("reader",), "p", False),
        ("share:create", ("member",), "q", False),
        ("share:create", ("auditor",), "p", False),
        ("share:get", ("reader",), "p", True),
        ("share:get", ("reader",), "q", False),
        ("share:manage", ("member",), "p", False),
    ],
)
def test_default_rules(rule: str, roles: tuple[str, ...], project: str, allowed: bool) -> None:
    assert Policy(load()).allows(RequestContext("u", project, roles), rule, MINE) is allowed


def test_administrators_may_and_unknown_rules_are_errors() -> None:
    policy = Policy(load())
    assert policy.is_admin(("admin",), "u", "p")
    assert not policy.is_admin(("member",), "u", "p")
    policy.enforce(RequestContext("u", "q", ("admin",), is_admin=True), "share:manage", MINE)
    with pytest.raises(Forbidden, match="share:manage"):
        policy.enforce(RequestContext("u", "p", ("member",)), "share:manage", MINE)
    with pytest.raises(KeyError):
        policy.allows(RequestContext("u", "p"), "share:paint")


def test_the_operators_file_overrides(tmp_path: Path) -> None:
    path, clock, conf = tmp_path / "policy.yaml", ManualClock(), load()
    path.write_text('"share:create": "role:creator"\n')
    policy = Policy(conf, clock)
    conf.set_override("policy_file", str(path), group="oslo_policy")
    policy = Policy(conf, clock)
    creator = RequestContext("u", "p", ("creator",))
    assert policy.allows(creator, "share:create")
    path.write_text('"share:create": "role:maker"\n"context_is_admin": "role:boss"\n')
    clock.advance(REREAD_S)
    assert not policy.allows(creator, "share:create")
    assert policy.is_admin(("boss",), "u", "p")


def test_kinds_of_checks_that_packages_bring_are_there_when_a_rule_asks_for_them(tmp_path: Path) -> None:
    path, conf = tmp_path / "policy.yaml", load()
    path.write_text('"share:create": "https://judge.example/%(project_id)s"\n')
    Policy(conf, ManualClock())
    conf.set_override("policy_file", str(path), group="oslo_policy")
    asked = Policy(conf, ManualClock())._enforcer.rules["share:create"]
    assert type(asked).__name__ == "HttpsCheck"


class Thing(Strict):
    name: Name
    size: int = 1


class ThingBody(Strict):
    thing: Thing


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"thing": {"name": "x", "colour": "red"}}', "unknown field `colour`, in 'thing'"),
        ('{"thing": {"name": "x", "size": "1"}}', "Expected `int`, got `str`, in 'thing.size'"),
        ('{"thing": {"name": "a\\u0000b"}}', "Control characters are not allowed, in 'thing.name'"),
        ('{"thing": {"name": "a\\nb"}}', "Control characters are not allowed, in 'thing.name'"),
        ('{"thing": {}}', "missing required field `name`, in 'thing'"),
        ('{"thing": {"name": "%s"}}' % ("x" * 256), "length <= 255, in 'thing.name'"),
    ],
)
def test_sentences(text: str, told: str) -> None:
    with pytest.raises(Invalid) as refusal:
        bodies.parse(text.encode(), ThingBody)
    assert told in refusal.value.message


@pytest.mark.parametrize("value", [True, "true", "True", "1", 1, "yes", "on"])
def test_true(value: object) -> None:
    assert bodies.parse_flag("x", value) is True


@pytest.mark.parametrize("value", ["", "maybe", None, 2, 1.0, []])
def test_not_a_flag(value: object) -> None:
    with pytest.raises(Invalid):
        bodies.parse_flag("x", value)


@pytest.mark.parametrize(("value", "number"), [(5, 5), ("5", 5), (" 5 ", 5), ("-1", -1), ("+3", 3)])
def test_whole(value: object, number: int) -> None:
    assert bodies.parse_whole("x", value) == number


@pytest.mark.parametrize("value", ["", "1.5", 1.5, True, None, "\u0661", "9" * 30, 2**31, "1e3", "0x10"])
def test_not_whole(value: object) -> None:
    with pytest.raises(Invalid):
        bodies.parse_whole("x", value)
