"""Print the lowest versions that setup.cfg allows, as constraints for pip: one `name==version` a line, of all extras.

    python tools/lowest.py > lowest.txt
    pip install --constraint lowest.txt --editable ".[evaluate,export,heic,video]" pytest

What setup.cfg does not name, pip takes as new as it likes. docs/releasing.md tells when this is run.
"""

import configparser
import re
import sys
from pathlib import Path

SETUP = Path(__file__).parents[1] / "setup.cfg"
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)(\[[^]]*\])?(?P<versions>.*)")


def requirements(setup: Path = SETUP) -> dict[str, list[str]]:
    """The requirements of setup.cfg as they are written, without comments: install_requires by "", extras by name."""
    parser = configparser.ConfigParser()
    parser.read(setup, encoding="utf-8")
    groups = {"": parser["options"]["install_requires"], **parser["options.extras_require"]}
    return {name: [line for line in text.splitlines() if line] for name, text in groups.items()}


def lowest(groups: dict[str, list[str]]) -> dict[str, str]:
    """The lowest version of each package by its normalised name. ValueError: one has none, or two that differ."""
    versions: dict[str, str] = {}
    for group, lines in groups.items():
        for line in lines:
            match = REQUIREMENT.fullmatch(line.strip())
            bound = match and re.search(r"(?:>=|==)\s*([0-9][^,;\s]*)", match["versions"])
            if not bound:
                raise ValueError(f"{line!r} of {group or 'install_requires'} has no lowest version")
            name = normalised(match["name"])
            if versions.setdefault(name, bound[1]) != bound[1]:
                raise ValueError(f"{name}: {versions[name]} and {bound[1]} ({group}): write one lowest version")
    return versions


def normalised(name: str) -> str:
    """A package's name as package indexes compare it: lower case, and one "-" for each run of "-", "_" and "."."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Print the constraints."""
    try:
        versions = lowest(requirements())
    except ValueError as error:
        sys.exit(f"setup.cfg: {error}")
    for name, version in sorted(versions.items()):
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
