"""Per-route rules: they cover what they say, or the start says that they do not."""

import pytest

from roadworthy import RouteRule, route_rule
from roadworthy.layer.frameworks.generic import GenericFramework
from roadworthy.layer.route_table import RouteTable
from roadworthy.layer.routes import RouteInfo, bind_rules, rule_of

from .conftest import make_exchange

RULE = RouteRule(rate_limit="5/minute")


def _info(method: str, template: str) -> RouteInfo:
    return RouteInfo(frozenset((method,)), template, None)


@pytest.mark.parametrize(
    ("template", "path", "covered"),
    [
        ("/a", "/a", True),
        ("/a", "/a/b", False),
        ("/a/{x}", "/a/1", True),
        ("/a/{x}", "/a/1/2", False),
        ("/a/{x:path}", "/a/1/2", True),
        ("/a/{x:int}/b", "/a/1/b", True),
        ("/a/<int:x>", "/a/1", True),
        ("/a/<path:x>", "/a/1/2", True),
        ("/a.b/{x}", "/aXb/1", False),
    ],
)
def test_a_rule_is_found_by_the_path_of_a_request(template: str, path: str, covered: bool) -> None:
    """Templates of Starlette, Litestar and Django are understood; a dot is a dot."""

    async def app(*_: object) -> None: ...

    table = RouteTable([(frozenset(("GET",)), template, RULE)], (), GenericFramework(app))
    assert (table.find(make_exchange("GET", path)) is RULE) is covered
    assert table.find(make_exchange("POST", path)) is None


def test_a_rule_that_covers_no_route_names_the_nearest() -> None:
    """A typo in a rule's path stops the start instead of lifting a limit (laurentS/slowapi#281)."""
    with pytest.raises(ValueError, match=r"covers no route.*did you mean '/api/upload'"):
        bind_rules({"/api/uplaod": RULE}, [_info("POST", "/api/upload")])
    with pytest.raises(ValueError, match="covers no route"):
        bind_rules({"GET /api/upload": RULE}, [_info("POST", "/api/upload")])


def test_a_rule_without_a_method_covers_all_of_its_path() -> None:
    """ "/x" binds to every method that the app has there."""
    routes = [_info("GET", "/x"), _info("POST", "/x"), _info("GET", "/y")]
    assert bind_rules({"/x": RULE}, routes) == [(frozenset(("GET", "POST")), "/x", RULE)]


@pytest.mark.parametrize("key", ["x", "get /x", "GET x", ""])
def test_a_key_of_another_form_is_refused(key: str) -> None:
    """The message shows the form."""
    with pytest.raises(ValueError, match="METHOD /template"):
        bind_rules({key: RULE}, [])


def test_a_rule_on_a_handler_is_found_through_other_decorators() -> None:
    """functools.wraps leaves a trail, and the rule is found along it."""
    import functools

    @route_rule(body_limit="10MiB", timeout="2m")
    def handler() -> None: ...

    @functools.wraps(handler)
    def outer() -> None: ...

    del outer.__dict__["__roadworthy_rule__"]
    found = rule_of(outer)
    assert found is not None
    assert (found.body_limit, found.timeout) == (10 << 20, 120.0)


@pytest.mark.parametrize(
    "wrong", [{"rate_limit": "5/fortnight"}, {"body_limit": "big"}, {"timeout": "soon"}, {"rate_key": "shoe"}]
)
def test_a_wrong_value_is_told_where_it_stands(wrong: dict[str, str]) -> None:
    """A rule is checked when it is made."""
    with pytest.raises(ValueError, match=r"rate|size|duration|client"):
        RouteRule(**wrong)  # type: ignore[arg-type]
