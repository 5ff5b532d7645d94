"""Per-route rules: they cover what they say, or the start says that they do not."""

import pytest

from roadworthy import RouteRule, route_rule
from roadworthy.layer.frameworks.generic import GenericFramework
from roadworthy.layer.route_table import RouteTable
from roadworthy.layer.routes import ANY_METHOD, RouteInfo, bind_rules, rule_of

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


@pytest.mark.parametrize(("written", "read"), [("OFF", "off"), (" off ", "off"), ("Static", "static")])
def test_words_for_a_rate_are_read_in_any_case(written: str, read: str) -> None:
    """A word that stands for no rate does not leave the service's limit in force."""
    assert RouteRule(rate_limit=written).rate_limit == read


_MOUNTED = [
    RouteInfo(ANY_METHOD, "/static/{path:path}", None, mounts=("/static",), static=True),
    RouteInfo(frozenset(("GET",)), "/sub/x", None, mounts=("/sub",)),
    RouteInfo(frozenset(("GET",)), "/sub/deep/{y}", None, mounts=("/sub", "/sub/deep")),
    RouteInfo(frozenset(("GET",)), "/both", None),
    RouteInfo(ANY_METHOD, "/both/{path:path}", None, mounts=("/both",)),
]


@pytest.mark.parametrize(
    ("key", "covered"),
    [
        *(
            (key, {"/static/{path:path}"})
            for key in ("/static", "/static/", "/static/*", "/static/{path:path}")
        ),
        *((key, {"/sub/x", "/sub/deep/{y}"}) for key in ("/sub", "/sub/", "/sub/*", "GET /sub")),
        ("/sub/deep", {"/sub/deep/{y}"}),
        ("/both", {"/both"}),
        ("/both/*", {"/both/{path:path}"}),
    ],
)
def test_a_mount_is_named_as_people_write_it(key: str, covered: set[str]) -> None:
    """The prefix names all that is mounted there; a route of that very path comes first."""
    ((_, template, _),) = bind_rules({key: RULE}, _MOUNTED)
    assert {route.template for route in _MOUNTED if route.covered_by(template)} == covered


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("/statik", r"did you mean '/static'\?"),
        ("POST /sub", r"did you mean '/sub'\?"),
        (
            "/nothing/like/it",
            r"it has /both, /static, /sub, /sub/deep, /sub/deep/\{y\}, /sub/x$",
        ),
    ],
)
def test_an_unknown_rule_names_routes_as_people_write_them(key: str, hint: str) -> None:
    """The message shows a mount by its prefix, never by the template that an adapter has made."""
    with pytest.raises(ValueError, match=hint) as caught:
        bind_rules({key: RULE}, _MOUNTED)
    assert "path:path" not in str(caught.value)


def test_the_nearest_rule_decides() -> None:
    """The rule of a route comes before its mount's, and an inner mount's before an outer one's."""
    outer, inner, own = RouteRule(timeout=1), RouteRule(timeout=2), RouteRule(timeout=3)
    bound = bind_rules({"/sub": outer, "/sub/deep": inner, "/sub/x": own}, _MOUNTED)

    async def app(*_: object) -> None: ...

    table = RouteTable(bound, _MOUNTED, GenericFramework(app))
    paths = {"/sub/x": own, "/sub/deep/1": inner, "/both": None}
    assert {path: table.find(make_exchange("GET", path)) for path in paths} == paths
