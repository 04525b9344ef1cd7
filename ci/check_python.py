"""Says in one line why this machine cannot run allocheck, or only a part of it.

Run by the Makefile before anything is installed; installs nothing itself.
"""

import platform
import sys


def main() -> int:
    """Exit status 2 where nothing would work, 0 elsewhere."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this is what the file is for
        found = ".".join(map(str, sys.version_info[:3]))
        print(f"allocheck needs Python 3.11 or newer, this is {found}: make PYTHON=python3.12 ...")
        return 2
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        print(f"allocheck runs on Linux on x86-64, not {platform.system()} {platform.machine()}")
        return 2
    if sys.version_info >= (3, 14):
        print("no atheris for this Python (3.11 to 3.13 have it): the search will be without edges")
    return 0


if __name__ == "__main__":
    sys.exit(main())
