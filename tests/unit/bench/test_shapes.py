"""What the contestants build is the same, whoever creates it."""

import json

from copr_operator.core import names
from tests.bench.shapes import SINGLE, JobMaker, Shape

UID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"


def test_a_shape_is_one_source_job_and_one_job_for_each_chroot() -> None:
    assert (Shape(4).jobs, len(Shape(4).names), str(Shape(4))) == (5, 4, "1+4")
    assert (SINGLE.jobs, len(SINGLE.names)) == (1, 1), "a build needs a chroot, even one that is ruled out"


def test_a_made_job_is_the_operators_own_with_another_name_and_owner() -> None:
    job = JobMaker(Shape(1), "ns", "http://backend").job("fedora-40-x86_64", UID, "hello")
    assert job["metadata"]["name"] == names.job_name(UID, "fedora-40-x86_64", 1)
    assert job["metadata"]["labels"][names.LABEL_BUILD_UID] == UID
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["name"], owner["uid"], owner["controller"]) == ("hello", UID, True)
    assert job["spec"]["podFailurePolicy"]["rules"]
    assert "00000000-0000" not in json.dumps(job)


def test_a_bare_job_belongs_to_nothing_or_it_would_be_collected_as_garbage() -> None:
    job = JobMaker(Shape(1), "ns", "http://backend").job(names.SOURCE_STEP, UID, None)
    assert "ownerReferences" not in job["metadata"]
