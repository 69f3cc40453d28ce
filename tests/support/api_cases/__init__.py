"""What the kinds accept and refuse, as tables.

The API server is asked in tests/integration/test_kinds.py, the models in tests/unit/api/test_cases.py.
Messages are those of the API server, without the object's name.
"""

from tests.support.api_cases.builds import BUILDS
from tests.support.api_cases.case import GOOD, Case, Update, changed
from tests.support.api_cases.chroots import CHROOTS
from tests.support.api_cases.packages import PACKAGE_UPDATES, PACKAGES
from tests.support.api_cases.projects import PROJECTS
from tests.support.api_cases.sources import SOURCES
from tests.support.api_cases.updates import UPDATES as _UPDATES

CASES: tuple[Case, ...] = (*BUILDS, *PROJECTS, *CHROOTS, *SOURCES, *PACKAGES)
UPDATES: tuple[Update, ...] = (*_UPDATES, *PACKAGE_UPDATES)

__all__ = ["CASES", "GOOD", "UPDATES", "Case", "Update", "changed"]
