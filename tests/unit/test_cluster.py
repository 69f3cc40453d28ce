"""A cluster that others may be working with is not broken."""

from pathlib import Path

import pytest

from tests.cluster.api import CONTROL_PLANE, Cluster, ClusterError, Provider


def cluster(provider: Provider = Provider.LOCAL) -> Cluster:
    nowhere = Path("/nonexistent")
    return Cluster(CONTROL_PLANE, provider, nowhere, "https://127.0.0.1:1", None, None, None, nowhere, nowhere, nowhere)


def test_the_parts_of_the_default_home_are_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COPR_CLUSTER_HOME", raising=False)
    for act in (cluster().require_own, lambda: cluster().stop_part("etcd"), lambda: cluster().restart_part("etcd")):
        with pytest.raises(ClusterError, match="set COPR_CLUSTER_HOME"):
            act()


def test_a_home_of_its_own_may_be_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COPR_CLUSTER_HOME", str(tmp_path))
    cluster().require_own()


@pytest.mark.parametrize("provider", [Provider.GIVEN, Provider.KIND])
def test_a_cluster_that_is_not_ours_is_never_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, provider: Provider
) -> None:
    monkeypatch.setenv("COPR_CLUSTER_HOME", str(tmp_path))
    with pytest.raises(ClusterError):
        cluster(provider).require_own()
