"""Requests of build pods against their limits, which are several people's."""

from dataclasses import replace
from fractions import Fraction

import pytest

from copr_operator.api.chroot import ChrootResources
from copr_operator.core.manifests import chroot_resources
from copr_operator.core.quantities import amount, smaller
from tests.support.builders import CONFIG, build


@pytest.mark.parametrize(
    ("quantity", "stands_for"),
    [
        ("0", 0), ("4", 4), ("250m", Fraction(1, 4)), ("1.5", Fraction(3, 2)), ("2k", 2000), ("1Ki", 1024),
        ("3M", 3_000_000), ("1Mi", 2**20), ("0.5Gi", 2**29), ("1G", 10**9), ("2T", 2 * 10**12), ("1Ti", 2**40),
    ],
)  # fmt: skip
def test_a_quantity_is_what_kubernetes_takes_it_for(quantity: str, stands_for: Fraction) -> None:
    assert amount(quantity) == stands_for


def test_the_smaller_of_two_quantities_stays_as_it_was_written() -> None:
    assert smaller("1G", "1Gi") == "1G"
    assert smaller("2", "1500m") == "1500m"


@pytest.mark.parametrize(
    ("limit_mb", "request_", "asked"),
    [(2048, "256Mi", "256Mi"), (128, "256Mi", "128Mi"), (2048, "4Gi", "2048Mi"), (2048, "1G", "1G")],
)
def test_no_more_memory_is_requested_than_the_build_may_use(limit_mb: int, request_: str, asked: str) -> None:
    """The request is the administrator's, the limit the user's."""
    resources = chroot_resources(ChrootResources(memory_request=request_), build(memoryLimitMB=limit_mb), CONFIG)
    assert (resources["requests"]["memory"], resources["limits"]["memory"]) == (asked, f"{limit_mb}Mi")


def test_the_source_step_requests_no_more_than_its_limits() -> None:
    config = replace(CONFIG, source_cpu_request="8", source_storage_limit="500Mi")
    resources = chroot_resources(None, build(), config)
    assert (resources["requests"]["cpu"], resources["requests"]["ephemeral-storage"]) == ("4", "500Mi")
