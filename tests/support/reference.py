"""The parts of the docs that are made from the code: `python -m tests.support.reference` (`make generate`) renews them.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel

from copr_operator.api.crd import GROUP
from copr_operator.backend.settings import ENV_PREFIX, BackendSettings
from copr_operator.core.reasons import FAILURES, PACKAGES, WAITS
from tests.support import chart_values
from tests.support.gitops_states import argocd_files

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
CRDS = REPOSITORY / "crds"


def settings_table(model: type[BaseModel], prefix: str) -> str:
    """A row for each setting: its variable, its default, what it is."""
    rows = ["| variable | default | what |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        default = "must be given" if field.is_required() else "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `{prefix}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def failures_table() -> str:
    """A row for each reason of a failure."""
    rows = ["| reason | class | what happened | what to do |", "|---|---|---|---|"]
    reasons = sorted(FAILURES.values(), key=lambda reason: (reason.failure_class.value, reason.name))
    rows += [f"| {r.name} | {r.failure_class.value} | {r.meaning} | {r.remedy} |" for r in reasons]
    return "\n".join(rows)


def waits_table() -> str:
    """A row for each reason of a build that has not ended."""
    rows = ["| reason | what it waits for or does |", "|---|---|"]
    return "\n".join([*rows, *(f"| {name} | {meaning} |" for name, meaning in sorted(WAITS.items()))])


def packages_table() -> str:
    """A row for each reason of a package's conditions."""
    rows = ["| reason | what it means |", "|---|---|"]
    return "\n".join([*rows, *(f"| {name} | {meaning} |" for name, meaning in sorted(PACKAGES.items()))])


def chart_files() -> dict[Path, str]:
    """The chart's generated files: the schema of its values, and copies of the CRDs (helm reads no file outside)."""
    crds = {chart_values.CHART / "files/crds" / path.name: path.read_text() for path in CRDS.glob(f"{GROUP}_*.yaml")}
    return crds | {chart_values.CHART / "values.schema.json": chart_values.schema_text()}


PARTS: Mapping[str, Callable[[], str]] = {
    "backend settings": lambda: settings_table(BackendSettings, ENV_PREFIX),
    "chart values": chart_values.table,
    "failures": failures_table,
    "packages": packages_table,
    "waits": waits_table,
}


def renewed(text: str) -> str:
    """The page with its generated parts as they should be. Raises KeyError for a part that nobody makes."""

    def part(match: re.Match[str]) -> str:
        return f"<!-- generated: {match[1]} -->\n{PARTS[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- generated: (.+?) -->\n.*?<!-- end -->", part, text, flags=re.DOTALL)


def pages() -> list[Path]:
    """All pages that have generated parts."""
    found = [*sorted(DOCS.glob("*.md")), chart_values.CHART / "README.md"]
    return [page for page in found if "<!-- generated: " in page.read_text()]


if __name__ == "__main__":
    for page in pages():
        page.write_text(renewed(page.read_text()))
    for file, text in {**chart_files(), **argocd_files()}.items():
        file.write_text(text)
