"""What recording and trying share: the processes that tests start run the checkout's own code."""

import os
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

Environment = Mapping[str, str]


def follow(more: Callable[[], Environment]) -> None:
    """Give each process that is started from now on more variables, whatever environment it is given.

    more: called at each start. Tests give theirs an environment of its own, without PYTHONPATH: an installed
    jobctl would then be what they run.
    """
    started = subprocess.Popen.__init__

    def start(self: Any, *args: Any, env: Environment | None = None, **options: Any) -> None:
        options["env"] = {**(os.environ if env is None else env), **more()}
        started(self, *args, **options)

    subprocess.Popen.__init__ = start  # type: ignore[method-assign,assignment]
