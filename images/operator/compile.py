"""Compiles what the commands import into .pyc files, once: the container's root is read-only.

They are never checked against their sources again (PEP 552, unchecked-hash): nothing changes in an image, and a builder
that sets all files to one time would make every check fail. Modules that nothing imports are left as they are.
"""

import importlib
import pkgutil
import py_compile
import sys

import copr_operator

# Debian compiles its own standard library when it is installed.
SITE_PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))

for found in pkgutil.walk_packages(copr_operator.__path__, "copr_operator."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
for module in list(sys.modules.values()):
    source = getattr(getattr(module, "__spec__", None), "origin", None) or ""
    if source.startswith(SITE_PACKAGES) and source.endswith(".py"):
        py_compile.compile(source, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
