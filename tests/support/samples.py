"""manifests/samples as tests use them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SAMPLES = Path(__file__).resolve().parents[2] / "manifests/samples"


def sample(name: str) -> dict[str, Any]:
    """The object of one file."""
    obj: dict[str, Any] = yaml.safe_load((SAMPLES / f"{name}.yaml").read_text())
    return obj


def replaced(obj: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`obj` with other values for fields that it has: what is public there is on this machine here. Raises KeyError for
    a field that it has not."""
    unknown = changes.keys() - obj.keys()
    if unknown:
        raise KeyError(f"the sample has no {', '.join(sorted(unknown))}")
    return {
        key: replaced(value, changes[key]) if isinstance(value, Mapping) and key in changes else changes.get(key, value)
        for key, value in obj.items()
    }
