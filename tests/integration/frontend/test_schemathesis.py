"""Fuzzing from our own OpenAPI document: what it allows, and what it does not, is answered and never with 500."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

from tests.integration.frontend.test_cli import untouched
from tests.support.frontend import Person, Site

SECONDS = 30.0
"""After that each operation that is left is tried once only."""
EXAMPLES = 8
LEFT_OUT = ("/project/delete/", "/package/delete", "/build/delete", "/api-token")
"""What the other requests need would be gone."""
THERE = {"ownername": "alice", "projectname": "demo", "package_name": "hello", "chrootname": "debian-13-x86_64"}


@dataclass
class Fuzzer:
    """Sends what schemathesis makes of the document. Blocks."""

    url: str
    who: Person
    build: int
    until: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    dice: random.Random = field(default_factory=lambda: random.Random(20))  # noqa: S311 (not for secrets)
    tried: set[str] = field(default_factory=set)
    good: int = 0
    wrong: list[str] = field(default_factory=list)

    def run(self) -> None:
        schema = schemathesis.openapi.from_url(f"{self.url}/api_3/docs")
        for found in schema.get_all_operations():
            operation: Any = found.ok()  # type: ignore[union-attr]
            raw = operation.definition.raw
            if raw.get("deprecated") or any(part in operation.path for part in LEFT_OUT):
                continue
            self._try(operation, GenerationMode.POSITIVE)
            typed = [p for p in raw["parameters"] if p["in"] == "query" or p["schema"]["type"] != "string"]
            if raw.get("requestBody") or typed:
                self._try(operation, GenerationMode.NEGATIVE)

    def _try(self, operation: Any, mode: GenerationMode) -> None:
        examples = EXAMPLES if time.monotonic() < self.until else 1
        limits = settings(
            max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        once: Any = given
        seed(20)(limits(once(operation.as_strategy(generation_mode=mode))(self._ask)))()
        self.tried.add(f"{operation.method.upper()} {operation.path}")

    def _ask(self, case: Any) -> None:
        self._aim(case.path_parameters)
        self._aim(case.query)
        self._aim(case.body)
        answer = case.call(base_url=f"{self.url}/api_3", auth=self.who.auth, timeout=60)
        self.good += answer.status_code < 400
        text = answer.content.decode()
        refused = answer.status_code >= 400 and set(answer.json()) - {"output"} != {"error"}
        if answer.status_code >= 500 or refused:
            self.wrong.append(f"{case.as_curl_command()}: {answer.status_code} {text}")

    def _aim(self, values: Any) -> None:
        """Mostly at what is there: else nothing but 404 would be heard."""
        if isinstance(values, dict):
            for name in values:
                if name in THERE and self.dice.random() < 0.9:
                    values[name] = THERE[name]
                if name in ("id", "build_id") and self.dice.random() < 0.9:
                    values[name] = self.build


@pytest.mark.timeout(180)
async def test_no_request_that_the_document_brings_about_is_an_error_of_ours(site: Site) -> None:
    alice = site.people["alice"]
    site.world.kubelet.behaviour = untouched
    body: dict[str, Any] = {"name": "demo", "chroots": ["debian-12-x86_64", "debian-13-x86_64"]}
    assert (await site.api("POST", "/project/add/alice", alice, json=body)).status_code == 200
    package = await site.api("POST", "/package/add/alice/demo/hello/rubygems", alice, json={"gem_name": "hello"})
    assert package.status_code == 200
    body = {"ownername": "alice", "projectname": "demo", "gem_name": "hello"}
    build = (await site.api("POST", "/build/create/rubygems", alice, json=body)).json()["id"]
    document = (await site.api("GET", "/docs")).json()
    operations = {
        f"{method.upper()} {path}"
        for path, found in document["paths"].items()
        for method, operation in found.items()
        if not operation.get("deprecated") and not any(part in path for part in LEFT_OUT)
    }
    fuzzer = Fuzzer(site.url, alice, build)
    await asyncio.to_thread(fuzzer.run)
    assert not fuzzer.wrong, "\n".join(fuzzer.wrong[:5])
    assert fuzzer.tried == operations
    assert fuzzer.good > 50, "requests that are right must be among them"
