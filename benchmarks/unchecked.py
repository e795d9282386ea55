"""jobctl without the check of its tables that comes before money is moved: `unchecked.py JOB …`.

`unchecked.py --checked JOB …` is jobctl as it is, started in the same way.
"""

import sys
from types import ModuleType

CHECK = "jobctl.checks.ready"


def main() -> None:
    if sys.argv[1] == "--checked":
        del sys.argv[1]
    else:
        nothing = ModuleType(CHECK)
        nothing.refuse_unready = lambda *_: None  # type: ignore[attr-defined]
        sys.modules[CHECK] = nothing
    from jobctl.cli import main as jobctl  # noqa: PLC0415 (only now, as a start would)

    jobctl()


if __name__ == "__main__":
    main()
