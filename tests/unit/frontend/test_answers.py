"""What the whole frontend answers, before an API server in memory."""

import pytest

from tests.unit.frontend.replicas import Replica, Server, person


@pytest.mark.parametrize(
    ("owner", "who", "groups", "admin", "status"),
    [
        ("alice", "alice", (), False, 200),
        ("alice", "root", (), True, 200),
        ("alice", "helper", (), False, 403),
        ("@copr", "alice", ("copr",), False, 200),
        ("@copr", "helper", (), False, 403),
    ],
)
async def test_only_owners_and_administrators_delete_a_project_although_others_may_change_it(
    owner: str, who: str, groups: tuple[str, ...], admin: bool, status: int
) -> None:
    server = Server()
    site, alice = Replica(server), await person(server, "alice", "copr")
    await site.made(owner, alice)
    helper = {"helper": {"admin": "approved"}}
    assert (await site.put(f"/api_3/project/permissions/set/{owner}/demo", json=helper, auth=alice)).status_code == 200
    asking = await person(server, who, *groups, admin=admin)
    edited = await site.put(f"/api_3/project/edit/{owner}/demo", json={"description": "x"}, auth=asking)
    assert edited.status_code == 200
    answer = await site.request("DELETE", f"/api_3/project/delete/{owner}/demo", json={"verify": True}, auth=asking)
    assert answer.status_code == status
    if status == 403:
        assert answer.json() == {"error": "Only owners may delete their projects."}
    assert bool(server.of("coprprojects")) is (status == 403)
