"""What repositories as users write them stand for: the same as in Copr."""

import pytest

from copr_operator.core.urls import expand_repo

RAWHIDE = "fedora-rawhide-x86_64"


@pytest.mark.parametrize(
    ("url", "baseurl", "priority"),
    [
        # These are Copr's own (test_repos.py).
        ("http://example1.com/foo/$chroot/", f"http://example1.com/foo/{RAWHIDE}/", None),
        ("copr://someuser/someproject", f"http://backend/results/someuser/someproject/{RAWHIDE}/", None),
        ("copr://user1/foocopr:PR", f"http://backend/results/user1/foocopr:PR/{RAWHIDE}/", None),
        ("copr://someuser/someproject?foo=bar&baz=10", f"http://backend/results/someuser/someproject/{RAWHIDE}/", None),
        ("http://example1.com/foo/$chroot?priority=10", f"http://example1.com/foo/{RAWHIDE}", 10),
        ("http://example1.com/foo/$chroot?priority=10&foo=bar", f"http://example1.com/foo/{RAWHIDE}?foo=bar", 10),
        ("copr://foo/bar?priority=10&unexp1=baz", f"http://backend/results/foo/bar/{RAWHIDE}/", 10),
        # And these are not.
        ("https://x/$distname/$releasever/$basearch/", "https://x/fedora/$releasever/$basearch/", None),
        ("https://x/?c=$chroot&d=$distname&priority=5", f"https://x/?c={RAWHIDE}&d=fedora", 5),
        ("https://x/?a=b%20c&my_priority=5", "https://x/?a=b%20c&my_priority=5", None),
        ("https://x/?priority=high", "https://x/", None),
        ("https://x/?priority=", "https://x/", None),
        ("https://[x/$chroot/", f"https://[x/{RAWHIDE}/", None),
    ],
)
def test_a_repository_is_expanded(url: str, baseurl: str, priority: int | None) -> None:
    assert expand_repo(url, RAWHIDE, "http://backend") == (baseurl, priority)


def test_the_name_of_the_distribution_may_have_dashes() -> None:
    assert expand_repo("https://x/$distname/", "centos-stream-10-x86_64", "")[0] == "https://x/centos-stream/"
