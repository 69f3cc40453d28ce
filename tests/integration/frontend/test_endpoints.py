"""Every endpoint in one table: success, no token, a bad one, no rights, nothing there, and each field of each body gone
wrong. A route that is in no row fails the test."""

import base64
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.integration.frontend.conftest import Whole
from tests.integration.frontend.test_cli import untouched
from tests.integration.frontend.test_fuzz import routes
from tests.support.endpoints import ALSO, CHROOT, ENDPOINTS, URL, Endpoint
from tests.support.frontend import Person, Site
from tests.unit.backend import rpms

NOTHING = {
    "{project}": "nothing", "{spare}": "nothing", "{groups}": "nothing", "{pending}": "999999", "{done}": "999999",
    "{fresh}": "999999", "{package}": "nothing", "{number}": "1", "{task}": f"999999-{CHROOT}",
}  # fmt: skip
"""Instead of what is there."""
PARAMETERS = {
    "id": "{pending}", "build_id": "{pending}", "ownername": "alice", "owner": "alice", "projectname": "{project}",
    "dirname": "{project}", "chrootname": CHROOT, "package_name": "{package}", "secret": "{secret}",
}  # fmt: skip
WORSE: tuple[Any, ...] = ({"a": {"b": 1}}, [["x"], {"y": None}], 2**70, -1.5, "\x00", "x" * 5000, True)
"""Values of types that no field has, or that no field may have."""


class Stage:
    """What the requests are about. `fill` makes what is used up anew each time."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.alice = site.people["alice"]
        self.known: dict[str, str] = {"{project}": "demo", "{groups}": "tools"}
        self._names = (f"n{number}" for number in itertools.count())

    async def prepare(self) -> None:
        self.site.world.kubelet.behaviour = untouched
        await self.site.person("bob")
        self.site.people["root"] = await self.site.person("root", admin=True)
        for owner, name in (("alice", "demo"), ("@ops", "tools")):
            await self._project(owner, name)
        await self._ask("PUT", "/project/permissions/set/alice/demo", {"dave": {"builder": "request"}})
        self.known["{pending}"] = await self._build()
        self.known["{task}"] = f"{self.known['{pending}']}-{CHROOT}"
        hook = await self._ask("POST", "/webhook/generate/alice/demo", None)
        self.known |= {"{number}": str(hook["id"]), "{secret}": hook["webhook_secret"]}

    async def _ask(self, method: str, path: str, body: Any, who: str = "alice") -> Any:
        answer = await self.site.api(method, path, self.site.people[who], json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def _project(self, owner: str, name: str) -> str:
        await self._ask("POST", f"/project/add/{owner}", {"name": name, "chroots": [CHROOT]}, "root")
        return name

    async def _build(self) -> str:
        body = {"ownername": "alice", "projectname": "demo", "pkgs": URL, "chroots": [CHROOT]}
        return str((await self._ask("POST", "/build/create/url", body))["items"][0]["id"])

    async def _done(self) -> str:
        number = await self._build()
        await self._ask("PUT", f"/build/cancel/{number}", None)
        await self.site.until_state(int(number), "canceled")
        return number

    async def _package(self) -> str:
        name = next(self._names)
        await self._ask("POST", f"/package/add/alice/demo/{name}/rubygems", {"gem_name": "x"})
        return name

    async def _value(self, placeholder: str) -> str:
        match placeholder:
            case "{done}":
                return await self._done()
            case "{fresh}":
                return await self._build()
            case "{spare}":
                return await self._project("alice", next(self._names))
            case "{package}":
                return await self._package()
            case "{new}":
                return next(self._names)
        return self.known[placeholder]

    def sender(self, row: Endpoint) -> Person | None:
        """Nobody in particular, where that is enough."""
        return None if row.right in ("read", "secret") else self.site.people[row.who]

    async def fill(self, row: Endpoint, instead: Mapping[str, str] | None = None) -> Endpoint:
        """The row with all placeholders replaced; `instead`: by these."""
        parts = re.findall(r"\{([\w:]+)\}", row.path)
        values = {name: row.values.get(name, PARAMETERS.get(name, "")) for name in parts}
        text = json.dumps([values, dict(row.query), row.body])
        for placeholder in dict.fromkeys(re.findall(r"\{\w+\}", text)):
            known = (instead or {}).get(placeholder)
            text = text.replace(placeholder, known if known is not None else await self._value(placeholder))
        values, query, body = json.loads(text)
        path = row.path
        for name, value in values.items():
            path = path.replace(f"{{{name}}}", value)
        return replace(row, path=path, query=query, body=body)

    async def send(self, row: Endpoint, who: Person | None, method: str = "") -> httpx.Response:
        options: dict[str, Any] = {"params": dict(row.query), "auth": who.auth if who is not None else None}
        if row.files:
            data = rpms.rpm("hello", "2.8", "1", "src")
            options["files"] = {
                "pkgs": ("hello-2.8-1.src.rpm", data, "application/x-rpm"),
                "json": ("json", json.dumps(row.body).encode(), "application/json"),
            }
        elif row.body is not None:
            options["content"] = json.dumps(row.body).encode()
            options["headers"] = {"Content-Type": "application/json"}
        options["headers"] = {**options.get("headers", {}), **row.headers}
        return await self.site.http.request(method or row.method, row.path, **options)


@pytest.fixture
async def stage(whole: Whole) -> Stage:
    """The backend is a real one: it takes the uploads."""
    made = Stage(whole.site)
    await made.prepare()
    return made


def is_error(answer: httpx.Response) -> bool:
    """The shape that clients know (contract 1.5)."""
    found = answer.json()
    return set(found) - {"output"} == {"error"} and isinstance(found["error"], str) and found["error"] != ""


async def test_every_route_is_in_the_table(stage: Stage) -> None:
    there = {(method, route.path) for route in routes(stage.site) for method in route.methods or () if method != "HEAD"}
    rows = {(row.method, row.path) for row in ENDPOINTS}
    assert len(rows) == len(ENDPOINTS)
    assert rows <= there, "a row of no route"
    assert there <= rows | set(ALSO), "a route without a row"


async def test_every_endpoint_answers_a_right_request(stage: Stage) -> None:
    for row in (*ENDPOINTS, *(replace(row, method=method) for (method, _), row in ALSO.items())):
        if (row.method, row.path) in ALSO or "/api-token" not in row.path:
            ready = await stage.fill(row)
            answer = await stage.send(ready, stage.sender(row))
            assert answer.status_code == row.status, (row.method, ready.path, answer.text)
            assert ("Warning" in answer.headers) == ((row.method, row.path) in ALSO), row.path
            if row.path.startswith("/api_3") and row.path != "/api_3/docs":
                assert "error" not in answer.json(), "a client would raise"
                assert ("items" in answer.json()) == ("meta" in answer.json()), "a client would take it for a list"


async def test_without_a_right_token_only_reads_are_answered(stage: Stage) -> None:
    wrong = Person("eve", "a" * 20, "guess", stage.site.url, stage.site.directory, stage.site.copr_cli)
    forged = Person("eve", stage.alice.login, "guess", stage.site.url, stage.site.directory, stage.site.copr_cli)
    odd = {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()}
    for row in ENDPOINTS:
        ready = await stage.fill(row)
        answers = [await stage.send(ready, who) for who in (None, wrong)]
        if row.right in ("read", "secret"):
            assert [answer.status_code for answer in answers] == [row.status] * 2, ready.path
            continue
        answers.append(await stage.site.http.request(row.method, ready.path, params=dict(ready.query), headers=odd))
        for answer in answers:
            assert (answer.status_code, answer.json()["output"]) == (401, "notok"), (ready.path, answer.text)
            assert "Login invalid/expired. Please visit" in answer.json()["error"]
    assert (await stage.send(await stage.fill(ENDPOINTS[0]), forged)).status_code == 200
    assert (await stage.site.api("GET", "/auth-check", stage.alice)).status_code == 200


async def test_who_has_no_rights_is_refused(stage: Stage) -> None:
    bob = stage.site.people["bob"]
    for row in ENDPOINTS:
        ready = await stage.fill(row)
        answer = await stage.send(ready, bob)
        expected = row.stranger or {"build": 403, "edit": 403}.get(row.right, row.status)
        if "/api-token" in row.path:
            continue  # bob's own token
        assert answer.status_code == expected, (row.method, ready.path, answer.text)
        assert expected < 400 or is_error(answer), answer.text


async def test_what_is_not_there_is_said_so(stage: Stage) -> None:
    for row in ENDPOINTS:
        if row.absent is not None:
            missing = await stage.fill(row, NOTHING)
            answer = await stage.send(missing, stage.sender(row))
            assert answer.status_code == row.absent, (row.method, missing.path, answer.text)
            if row.path.startswith("/webhooks/custom"):
                assert answer.text == "PROJECT_NOT_FOUND\n", "scripts hear one word"
                continue
            assert row.absent < 400 or is_error(answer), answer.text


def schemas(document: Mapping[str, Any]) -> Iterator[tuple[Endpoint, dict[str, Any]]]:
    """Rows with the fields of their bodies, as our own document says."""
    for row in ENDPOINTS:
        operation = document["paths"].get(row.path.removeprefix("/api_3"), {}).get(row.method.lower(), {})
        for content in operation.get("requestBody", {}).get("content", {}).values():
            yield row, content["schema"]


async def with_fields(stage: Stage, row: Endpoint, fields: Mapping[str, Any], without: str = "") -> httpx.Response:
    """The answer to the row's request with other fields, and without one."""
    ready = await stage.fill(row)
    body = {name: value for name, value in (ready.body or {}).items() if name != without}
    return await stage.send(replace(ready, body={**body, **fields}), stage.sender(row))


async def test_fields_of_wrong_types_are_refused_or_taken_and_never_an_error_of_ours(stage: Stage) -> None:
    document = (await stage.site.api("GET", "/docs")).json()
    dice = itertools.cycle(WORSE)
    for row, schema in schemas(document):
        # What is taken uses builds and packages up: two values for each field, other ones each time.
        for name in schema["properties"]:
            for value in itertools.islice(dice, 2):
                answer = await with_fields(stage, row, {name: value})
                assert answer.status_code < 500, (row.path, name, value, answer.text)
                assert answer.status_code < 400 or is_error(answer), (row.path, name, value, answer.text)


async def test_null_is_a_field_that_was_not_given_and_a_missing_one_that_is_needed_is_named(stage: Stage) -> None:
    document = (await stage.site.api("GET", "/docs")).json()
    for row, schema in schemas(document):
        files = {"pkgs", "upload_comps"} if row.files else set()
        needed = set(schema.get("required", ())) - files
        optional = set(schema["properties"]) - needed - files - set(row.body or {})
        answer = await with_fields(stage, row, dict.fromkeys(optional))
        assert answer.status_code == row.status, (row.path, answer.text)
        for name in sorted(needed):
            for answer in (await with_fields(stage, row, {}, name), await with_fields(stage, row, {name: None})):
                assert answer.status_code in (400, 404), (row.path, name, answer.text)
                assert is_error(answer), answer.text


async def test_numbers_may_come_as_strings(stage: Stage) -> None:
    document = (await stage.site.api("GET", "/docs")).json()
    tried = 0
    for row, schema in schemas(document):
        for name, of in schema["properties"].items():
            if of.get("type") == "integer" and name not in ("after_build_id", "with_build_id"):
                answer = await with_fields(stage, row, {name: str(max(of.get("minimum", 1), 1))})
                assert answer.status_code == row.status, (row.path, name, answer.text)
                tried += 1
    assert tried > 8


async def test_ids_in_bodies_may_come_as_strings(stage: Stage) -> None:
    pending = int(stage.known["{pending}"])
    for name in ("after_build_id", "with_build_id"):
        body = {"ownername": "alice", "projectname": "demo", "pkgs": URL, name: str(pending)}
        answer = await stage.site.api("POST", "/build/create/url", stage.alice, json=body)
        assert answer.status_code == 200, answer.text
