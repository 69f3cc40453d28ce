"""What all kinds share: the base model, bounded string types, conditions, and how CEL rules are attached."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """A part of a kind. Unknown fields are ignored: the API server prunes them, and older objects may hold more."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True, extra="ignore"
    )


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """JSON schema extension with CEL rules, each (rule, message); a message is shown to the user as it is."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def list_map(*keys: str) -> dict[str, Any]:
    """Server-side apply merges such a list by key instead of replacing it."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


SET = {"x-kubernetes-list-type": "set"}
ATOMIC = {"x-kubernetes-list-type": "atomic"}
WRITTEN_AS_ONE: dict[str, Any] = {"x-kubernetes-map-type": "atomic"}
"""Of a status: it has one writer, so that `managedFields`, which would be as large again, need not name its fields."""
KEY_MESSAGE = "x-copr-key-message"


def atomic_map(key_message: str) -> dict[str, Any]:
    """A map with a pattern for its keys, replaced as a whole; the message is shown when a key does not match."""
    return {"x-kubernetes-map-type": "atomic", KEY_MESSAGE: key_message}


# Patterns mean the same to the API server (Go), to pydantic (Rust) and to CEL (RE2): classes such as `\s` and `\w` do
# not, and a spec that only one of them admits could never be read. POSIX-like ranges do: `[!-~]` is printable ASCII.
#
# The first character is alphanumeric, so that no name is `.`, `..`, hidden or an option of a program.
Owner = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^@?[A-Za-z0-9][A-Za-z0-9_.-]*$")]
ProjectName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]
# Copr's forms have this pattern; at most 100 characters, or directories of results would get too long.
PackageName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9+_][A-Za-z0-9_.+-]*$")]
# `name-release-arch`, as in Copr. Two dashes at least, so that no chroot is called `srpm-builds`.
ChrootName = Annotated[
    str, Field(min_length=5, max_length=63, pattern=r"^[a-z0-9][a-z0-9_.+]*-[A-Za-z0-9_.+-]+-[A-Za-z0-9_]+$")
]
ChrootPattern = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9*?\[][A-Za-z0-9_.+*?\[\]!-]*$")]
HttpUrl = Annotated[
    str, Field(min_length=8, max_length=2048, pattern=r"^https?://[A-Za-z0-9._~:@%\[\]-]+([/?#][!-~]*)?$")
]
# $releasever, $basearch, $chroot and $distname are expanded; copr://owner/project stands for another project of this
# installation; ?priority=N is for dnf.
RepoUrl = Annotated[
    str,
    Field(
        min_length=8,
        max_length=2048,
        pattern=r"^(https?://[A-Za-z0-9._~:@%$\[\]-]+([/?][!-~]*)?|copr://@?[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.+:-]*(\?[!-~]*)?)$",
    ),
]
RepoUrls = Annotated[list[RepoUrl], Field(max_length=32, json_schema_extra=ATOMIC)]
RepoId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
# A package name or another requirement dnf understands; never an option of dnf.
Requirement = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9/(@_][^\x00-\x1f\x7f]*$")]
BuildOption = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$")]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Sha256 = Annotated[str, Field(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """A condition as in the Kubernetes API conventions (metav1.Condition)."""

    type: Annotated[str, Field(max_length=63)] = Field(description="Kind of condition, e.g. Succeeded or Ready.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: Annotated[int, Field(ge=0)] = Field(
        0, description="metadata.generation the condition was set for."
    )
    last_transition_time: Time = Field(description="When the status last changed.")
    reason: Annotated[str, Field(max_length=64)] = Field(description="Stable CamelCase word; docs list all of them.")
    message: Annotated[str, Field(max_length=1024)] = Field("", description="The same for people.")


Conditions = Annotated[list[Condition], Field(max_length=8, json_schema_extra=list_map("type"))]
Phase = Literal["importing", "pending", "starting", "running", "succeeded", "failed", "canceled", "skipped"]
"""Exactly the build states of Copr's API document."""
TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "canceled", "skipped"})
