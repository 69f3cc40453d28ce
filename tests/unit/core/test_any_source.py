"""Whatever source the schema admits, a plan comes of it: of a build that raised nothing would ever become."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from copr_operator.api import common, sources
from copr_operator.core import names, urls
from copr_operator.core.config import SourceSettings
from copr_operator.core.plan import plan
from copr_operator.core.sources import api_source
from copr_operator.core.stepplan import step_plan
from tests.support.api_cases.case import UNREADABLE_HOSTS
from tests.support.builders import CONFIG, accepted, build, observed


def admitted(kind: Any) -> st.SearchStrategy[str]:
    """Strings of a field that the API server takes."""
    schema = TypeAdapter(kind).json_schema()
    texts = st.from_regex(schema["pattern"], fullmatch=True)
    return texts.filter(lambda text: schema["minLength"] <= len(text) <= schema["maxLength"])


Fields = dict[str, st.SearchStrategy[Any]]


def member(kind: str, fields: Fields, optional: Fields | None = None) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(fields, optional=optional or {}).map(lambda values: {"type": kind, kind: values})


HOSTS = st.sampled_from(UNREADABLE_HOSTS) | st.from_regex(r"[a1\[][a1.:\[\]_-]{0,8}", fullmatch=True)
SOURCES = st.one_of(
    member("link", {"url": admitted(common.HttpUrl) | st.builds("https://{}/a.spec".format, HOSTS)}),
    member(
        "scm",
        {"cloneURL": admitted(sources.CloneUrl) | st.builds("https://{}/svn/x".format, HOSTS)},
        {"committish": admitted(sources.Committish), "subdirectory": admitted(sources.RepositoryPath),
         "spec": admitted(sources.SpecPath), "type": st.sampled_from(("git", "svn"))},
    ),
    member("distgit", {"package": admitted(sources.DistGitPackage)}, {"namespace": admitted(sources.DistGitNamespace)}),
    member(
        "custom",
        {"script": st.just("x")},
        {"resultdir": admitted(sources.RepositoryPath), "repos": st.lists(admitted(common.RepoUrl), max_size=2)},
    ),
)  # fmt: skip


@given(SOURCES)
@example({"type": "scm", "scm": {"cloneURL": "https://[::1/x.git"}})
@settings(max_examples=200, deadline=None)
def test_every_source_that_the_schema_admits_is_built_or_refused_and_can_be_shown(source: dict[str, Any]) -> None:
    world = observed(build(accepted(), source=source))
    decided = plan(world, CONFIG)
    if decided.status is not None:
        assert decided.status.state == "failed"
        assert decided.status.failure is not None
        assert decided.status.failure.reason == "SourceRefused"
    else:
        assert step_plan(world, names.SOURCE_STEP, 1, CONFIG).source is not None
    assert world.build.spec.source is not None
    assert api_source(world.build.spec.source, SourceSettings())[0] == source["type"]


@given(st.text() | st.builds("https://{}/x".format, HOSTS))
def test_any_text_is_judged(text: str) -> None:
    assert isinstance(urls.problem(text), str)
