"""The models accept what the API server accepts and refuse what it refuses, and every CEL rule has a case."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from copr_operator.api.crd import KINDS
from tests.support.api_cases import CASES, UPDATES, Case

CRDS = Path(__file__).resolve().parents[3] / "crds"
MODELS = {kind.kind: kind.spec for kind in KINDS}


@pytest.mark.parametrize("case", [case for case in CASES if not case.refused], ids=str)
def test_models_read_what_the_api_server_accepts(case: Case) -> None:
    given = MODELS[case.kind].model_validate(case.spec).model_dump(mode="json", exclude_unset=True)
    assert given == case.spec


@pytest.mark.parametrize("case", [case for case in CASES if case.refused and not case.by_rule], ids=str)
def test_models_refuse_what_the_api_server_refuses(case: Case) -> None:
    with pytest.raises(ValidationError):
        MODELS[case.kind].model_validate(case.spec)


def rules(schema: Any) -> Iterator[str]:
    """Messages of all CEL rules in a schema."""
    if isinstance(schema, dict):
        for rule in schema.get("x-kubernetes-validations", []):
            yield rule["message"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from rules(part)


def all_rules() -> list[tuple[str, str]]:
    definitions = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("copr-operator.dev_*.yaml"))]
    return [
        (definition["spec"]["names"]["kind"], message) for definition in definitions for message in rules(definition)
    ]


@pytest.mark.parametrize(("kind", "message"), all_rules(), ids=" ".join)
def test_every_rule_of_the_crds_is_seen_to_refuse_something(kind: str, message: str) -> None:
    refused = [(case.kind, case.refused) for case in CASES] + [(update.kind, update.refused) for update in UPDATES]
    assert any(kind == of and message in said for of, said in refused)


def test_rules_of_one_kind_are_told_apart_by_their_messages() -> None:
    assert len(all_rules()) == len(set(all_rules())) > 0


def test_titles_are_unique() -> None:
    titles = [str(case) for case in (*CASES, *UPDATES)]
    assert len(titles) == len(set(titles))
