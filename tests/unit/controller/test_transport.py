"""When kopf may start: it looks for what it is to watch once."""

import asyncio
from typing import Any

import pytest

from copr_operator.controller.transport import LEASES, discovered
from copr_operator.core import names
from copr_operator.kube.client import ApiError, KubeClient, Params

pytestmark = pytest.mark.looptime
ALL = (names.GROUP, LEASES, "apps")


class Beginning(KubeClient):
    """An API server that tells of more groups with each answer, or refuses to answer."""

    def __init__(self, *answers: tuple[str, ...] | int) -> None:
        self._answers = list(answers)

    async def _json(self, method: str, path: str, params: Params | None, **_: Any) -> dict[str, Any]:
        assert (method, path) == ("GET", "/apis")
        answer = self._answers.pop(0)
        if isinstance(answer, int):
            raise ApiError(answer, "", "")
        return {"groups": [{"name": name} for name in answer]}


async def test_kinds_that_are_there_are_not_waited_for(looptime: Any) -> None:
    await discovered(Beginning(ALL), asyncio.Event())
    assert looptime == 0


@pytest.mark.parametrize("before", [(), ("apps",), (names.GROUP,), (LEASES,), 503, 429, 0])
async def test_it_waits_for_an_api_server_that_does_not_tell_of_them_yet(
    looptime: Any, before: tuple[str, ...] | int
) -> None:
    await discovered(Beginning(before, before, ALL), asyncio.Event())
    assert looptime == 1


async def test_it_ends_with_its_controller(looptime: Any) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(1.2, stop.set)
    await discovered(Beginning(*[503] * 3), stop)
    assert looptime == 1.2


async def test_what_no_waiting_mends_is_raised() -> None:
    with pytest.raises(ApiError, match="403"):
        await discovered(Beginning(403), asyncio.Event())
