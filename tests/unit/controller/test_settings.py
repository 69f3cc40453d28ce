"""Settings for sources: what an administrator writes, and what is said when it means nothing."""

import json

import pytest

from copr_operator.core.config import DIST_GITS, DistGit
from copr_operator.core.distgits import parse_dist_gits
from copr_operator.core.egress import check_rules
from copr_operator.core.wire import EgressRules

OWN = {"name": "own", "cloneURL": "https://git.example/{package}", "lookasideURL": "https://f.example/{filename}"}


def test_fedora_and_centos_are_built_in() -> None:
    assert parse_dist_gits("") == DIST_GITS
    assert [instance.name for instance in DIST_GITS] == ["fedora", "centos"]


def test_an_own_dist_git_is_added_and_one_of_a_known_name_replaces_it() -> None:
    mirror = {**OWN, "name": "fedora", "namespace": "pkgs"}
    found = {instance.name: instance for instance in parse_dist_gits(json.dumps([OWN, mirror]))}
    assert set(found) == {"fedora", "centos", "own"}
    assert found["own"] == DistGit("own", OWN["cloneURL"], OWN["lookasideURL"], "rpms")
    assert found["fedora"].namespace == "pkgs"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({}, "a JSON list of objects"),
        (["own"], "a JSON list of objects"),
        ([{**OWN, "url": "x"}], "a dist-git has no url"),
        ([{"name": "own"}], "lacks cloneURL, lookasideURL"),
        ([{**OWN, "namespace": 1}], "are strings"),
        ([{**OWN, "cloneURL": "https://git.example/"}], "cloneURL must hold {package}"),
        ([{**OWN, "lookasideURL": "https://f.example/"}], "lookasideURL {filename}"),
        ([{**OWN, "cloneURL": "https://[git.example/{package}"}], "cloneURL is no usable URL"),
        ([{**OWN, "lookasideURL": "/files/{filename}"}], "lookasideURL is no usable URL: it has no host"),
    ],
)
def test_a_dist_git_that_means_nothing_is_refused(entries: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_dist_gits(json.dumps(entries))


@pytest.mark.parametrize(
    "allow", ["10.0.0.0/8", "10.0.0.7", "fd00::/8", "git.internal", "*.internal", "localhost", "git-2"]
)
def test_hosts_and_networks_can_be_allowed(allow: str) -> None:
    check_rules(EgressRules(allow=(allow,)))


@pytest.mark.parametrize("allow", ["10.0.0.0/33", "10.0.0", "300.0.0.1", "https://git.internal", "*", "a b", ""])
def test_an_entry_that_means_nothing_is_refused(allow: str) -> None:
    with pytest.raises(ValueError, match="neither an address"):
        check_rules(EgressRules(allow=(allow,)))


def test_only_networks_can_be_denied() -> None:
    check_rules(EgressRules(deny=("203.0.114.0/24",)))
    with pytest.raises(ValueError, match="host names can't be denied"):
        check_rules(EgressRules(deny=("git.internal",)))
