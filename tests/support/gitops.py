"""What GitOps tools say of objects, by their own code: see tests/cluster/tools/gitops."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import api as clusters
from tests.support.gitops_states import ARGOCD

Answer = dict[str, Any]
EXAMPLE = Path(__file__).resolve().parents[2] / "manifests/examples/gitops"
"""The example repository for Argo CD and Flux."""


def ask(questions: Iterable[Mapping[str, Any]]) -> list[Answer]:
    """An answer for each question, in order; main.go of the tool says what can be asked."""
    sent = json.dumps(list(questions))
    done = subprocess.run([str(clusters.tool("gitops"))], input=sent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers: list[Answer] = json.loads(done.stdout)
    return answers


def argocd_settings() -> dict[str, str]:
    """What an administrator puts into argocd-cm."""
    data: dict[str, str] = yaml.safe_load((ARGOCD / "argocd-cm.yaml").read_text())["data"]
    return data


def documents(path: Path) -> list[dict[str, Any]]:
    """The YAML documents of a file."""
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def kustomized(directory: Path) -> list[dict[str, Any]]:
    """What a kustomization makes."""
    command = [str(clusters.tool("kubectl")), "kustomize", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [one for one in yaml.safe_load_all(done.stdout) if one]
