"""The page of a build, and the task that its builders would have had."""

from dataclasses import replace
from html.parser import HTMLParser

from copr_operator.api.project import ProjectSpec
from copr_operator.core.observed import BuildView
from copr_operator.core.views import build_view
from copr_operator.frontend.pages import HEADERS, STYLE, build_page
from copr_operator.frontend.present_project import build_task
from tests.unit.frontend.test_present import RESULTS, SUCCEEDED, TIME, build, project

D12, D13 = "debian-12-x86_64", "debian-13-x86_64"
NASTY = '"><script>alert(1)</script>'


class Page(HTMLParser):
    """Tags, links and text of a page; every tag that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page(view: BuildView) -> Page:
    return Page(build_page(view, RESULTS))


def view(status: dict[str, object], **spec: object) -> BuildView:
    return build_view(build(7, status, **spec))


FAILED = {
    **SUCCEEDED, "state": "failed",
    "chroots": [
        {"name": D12, "state": "succeeded", "startedAt": TIME, "endedAt": TIME},
        {"name": D13, "state": "failed", "startedAt": TIME, "endedAt": TIME,
         "failure": {"class": "user", "reason": "BuildFailed", "step": "build", "message": "x"}},
    ],
    "failure": {"class": "user", "reason": "BuildFailed", "step": "build", "chroot": D13, "message": NASTY,
                "logURL": f"{RESULTS}/results/x/builder-live.log.gz"},
}  # fmt: skip


def test_the_page_says_how_it_ended_why_and_where_the_logs_are() -> None:
    seen = page(view(FAILED, submitter="alice"))
    words_of = ("Build 7: hello 2.8-1", "failed", "BuildFailed", NASTY, "by alice", "2026-01-01 12:00:00 UTC", D12, D13)
    for words in words_of:
        assert words in seen.text, words
    base = f"{RESULTS}/results/alice/demo"
    for chroot in (D12, D13):
        assert f"{base}/{chroot}/00000007-hello/builder-live.log.gz" in seen.links
        assert f"{base}/{chroot}/00000007-hello/" in seen.links
    assert "script" not in seen.tags
    assert "meta http-equiv" not in build_page(view(FAILED), RESULTS)


def test_what_has_not_ended_says_what_it_waits_for_and_is_shown_anew() -> None:
    condition = {"type": "Succeeded", "status": "Unknown", "reason": "ChrootNotFound", "message": f"no {NASTY}",
                 "lastTransitionTime": TIME}  # fmt: skip
    chroots = [{"name": D12, "state": "running", "startedAt": TIME}]
    running = {**SUCCEEDED, "state": "running", "chroots": chroots, "conditions": [condition]}
    seen = page(view(running))
    assert f"running: ChrootNotFound: no {NASTY}" in seen.text
    assert f"{RESULTS}/results/alice/demo/{D12}/00000007-hello/builder-live.log" in seen.links, "still without .gz"
    assert '<meta http-equiv="refresh"' in build_page(view(running), RESULTS)


def test_a_fork_names_its_origin() -> None:
    seen = page(view(SUCCEEDED, forkedFrom={"owner": "bob", "projectDirname": "demo:pr:1", "id": 3}))
    assert "build 3 of bob/demo:pr:1" in seen.text
    assert "forked" in seen.text


def test_nothing_of_others_is_run_or_loaded_by_the_page() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert build_page(view(SUCCEEDED), RESULTS).count("<style>") == 1
    assert "url(" not in STYLE


def test_the_task_has_the_keys_of_copr_s() -> None:
    settings = {"name": D12, "additionalPackages": ["make"], "withOpts": ["docs"],
                "api": {"additionalModules": ["a:1"], "isolation": "simple"}}  # fmt: skip
    wanted = ProjectSpec.model_validate({"owner": "alice", "name": "demo", "chroots": [settings]})
    of = view(SUCCEEDED, submitter="alice", projectDirname="demo:pr:1")
    task = build_task(of, replace(project(D12), spec=wanted), D12, RESULTS)
    assert set(task) == {
        "task_id", "build_id", "project_owner", "project_name", "project_dirname", "submitter", "sandbox", "background",
        "chroot", "tags", "timeout", "enable_net", "memory_reqs", "git_repo", "git_hash", "package_name",
        "package_version", "repos", "buildroot_pkgs", "with_opts", "without_opts", "modules", "isolation",
        "uses_devel_repo", "fedora_review", "appstream", "repo_priority", "storage", "ssh_public_keys",
    }  # fmt: skip
    assert (task["task_id"], task["sandbox"], task["package_version"]) == (f"7-{D12}", "alice/demo--alice", "2.8-1")
    assert [repo["id"] for repo in task["repos"]] == ["copr_base", "copr_coprdir"]
    assert (task["buildroot_pkgs"], task["modules"], task["isolation"]) == (["make"], {"toggle": ["a:1"]}, "simple")
