"""What records say of objects that other clocks and other versions have written."""

from datetime import timedelta
from typing import Any

import pytest

from copr_operator.api.build import BuildSpec
from copr_operator.core.observed import PodView, format_time
from copr_operator.core.views import build_view, job_view, pod_view, try_view
from tests.support.builders import T0, at

HOUR = timedelta(hours=1)


def status_writer(manager: str, seconds: float, *parts: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"f:status": {part: {} for part in ("f:phase", *parts)}}
    return {"manager": manager, "subresource": "status", "time": format_time(at(seconds)), "fieldsV1": fields}


def pod(off: timedelta, *, reported_after: float = 1, writers: tuple[dict[str, Any], ...] = ()) -> PodView:
    """Whose fetch ended after 40 s, and whose build began after 50, on a node whose clock is off."""

    def by_node(seconds: float) -> str:
        return format_time(at(seconds) + off)

    fetch = {"terminated": {"exitCode": 0, "startedAt": by_node(10), "finishedAt": by_node(40)}}
    kubelet = status_writer("kubelet", 50 + reported_after, "f:containerStatuses", "f:initContainerStatuses")
    return pod_view(
        {
            "metadata": {
                "name": "p", "uid": "u", "namespace": "ns", "creationTimestamp": format_time(T0),
                "managedFields": [kubelet, *writers],
            },
            "status": {
                "initContainerStatuses": [{"name": "fetch", "state": fetch}],
                "containerStatuses": [{"name": "build", "state": {"running": {"startedAt": by_node(50)}}},
                                      {"name": "collect", "state": {}}],
            },
        }
    )  # fmt: skip


@pytest.mark.parametrize("off", [HOUR, -HOUR, timedelta(seconds=-90), timedelta(days=400)])
def test_times_of_a_node_whose_clock_is_off_are_told_by_the_api_servers(off: timedelta) -> None:
    seen = pod(off)
    fetch, build = seen.containers["fetch"], seen.containers["build"]
    assert (fetch.started, fetch.finished, build.started) == (at(11), at(41), at(51))
    assert build.finished is None
    assert seen.containers["collect"].started is None


@pytest.mark.parametrize("after", [0, 1, 30, 9000])
def test_what_is_reported_later_happened_when_the_node_says(after: float) -> None:
    """A node that comes back writes its pods' statuses once more."""
    assert pod(timedelta(0), reported_after=after).containers["build"].started == at(50)


def test_only_the_node_tells_when_it_has_reported() -> None:
    off = -HOUR
    lost = status_writer("kube-controller-manager", 9000, "f:conditions")
    ours = {"manager": "copr-operator", "time": format_time(at(9000)), "fieldsV1": {"f:metadata": {}}}
    assert pod(off, writers=(lost, ours)).containers["build"].started == at(51)


@pytest.mark.parametrize("off", [HOUR, -HOUR, timedelta(0)])
def test_a_job_has_ended_when_the_api_server_heard_of_it(off: timedelta) -> None:
    ended = {"type": "Complete", "status": "True", "lastTransitionTime": format_time(at(60) + off)}
    controller = status_writer("kube-controller-manager", 60, "f:conditions")
    meta = {
        "name": "j",
        "uid": "u",
        "namespace": "ns",
        "creationTimestamp": format_time(T0),
        "managedFields": [controller],
    }
    assert job_view({"metadata": meta, "status": {"conditions": [ended]}}).finished == at(60)


# -- builds of a newer version -----------------------------------------------------------------------------------------

LINK = {"type": "link", "link": {"url": "https://sources.example/hello.src.rpm"}}


def build(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "hello", "namespace": "ns", "uid": "u", "creationTimestamp": format_time(T0)},
        "spec": {"owner": "alice", "project": "demo", "source": LINK, **spec},
    }


def test_a_spec_that_is_understood_is_read_whole() -> None:
    view = build_view(build(timeout=60))
    assert (view.unread, view.spec.timeout) == ("", 60)


def test_an_unknown_field_is_none_of_ours() -> None:
    assert build_view(build(hologram=True)).unread == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", {"type": "hologram", "hologram": {}}),
        ("timeout", "PT5M"),
        ("chroots", [{"name": "debian-13-x86_64"}]),
    ],
)
def test_what_is_not_understood_is_left_out_and_named(field: str, value: object) -> None:
    view = build_view(build(**{field: value}))
    assert view.unread.startswith(field)
    assert (view.spec.owner, view.spec.project) == ("alice", "demo")
    assert getattr(view.spec, field) == getattr(BuildSpec(owner="alice", project="demo"), field)


@pytest.mark.parametrize(
    ("part", "value"), [("state", "dreaming"), ("failure", {"class": "fate", "reason": "Doom", "step": "build"})]
)
def test_what_of_a_status_is_not_understood_is_left_out_and_named(part: str, value: object) -> None:
    whole = {"id": 7, "state": "running", "failure": None, part: value}
    view = build_view({**build(), "status": whole})
    assert (view.unread, view.unread_status.partition(":")[0]) == ("", part if part == "state" else "failure.class")
    assert (view.status.id, getattr(view.status, part)) == (7, None)


def test_a_status_whose_id_is_none_can_not_be_read() -> None:
    text = "id: Input should be a valid integer, unable to parse string as an integer"
    assert try_view(build_view, {**build(), "status": {"id": "seven"}}) == text


@pytest.mark.parametrize("field", ["owner", "projectDirname", "cancel", "results"])
def test_without_what_a_cancel_or_a_deletion_needs_it_can_not_be_read(field: str) -> None:
    assert try_view(build_view, build(**{field: {"of": "another version"}})) == (
        f"{field}: Input should be 'Delete' or 'Retain'"
        if field == "results"
        else f"{field}: Input should be a valid {'boolean' if field == 'cancel' else 'string'}"
    )


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"status": "True", "lastTransitionTime": "2026-01-01T13:00:00Z"}, (True, at(3600), at(3600))),
        ({"status": "False", "lastTransitionTime": "2026-01-01T13:00:00Z"}, (False, None, T0)),
        ({"status": "True"}, (True, None, T0)),
        ({"status": "True", "lastTransitionTime": None}, (True, None, T0)),
        (None, (False, None, T0)),
    ],
)  # fmt: skip
def test_a_pod_says_since_when_it_has_its_node(condition: Any, expected: tuple[bool, Any, Any]) -> None:
    conditions = [{"type": "PodScheduled", **condition}] if condition is not None else []
    meta = {"name": "p", "uid": "u", "namespace": "ns", "creationTimestamp": format_time(T0)}
    view = pod_view({"metadata": meta, "status": {"conditions": conditions}})
    assert (view.scheduled, view.scheduled_at, view.node_since) == expected
