"""`python -m tests.disagreement.process JOB INSTANT`: one real run, at an instant of the world's own time."""

import sys
from datetime import datetime, timedelta

from jobctl import registry
from jobctl.output import Output
from jobctl.providers import transport
from jobctl.runner import Invocation, run
from jobctl.settings import load
from jobctl.steps.running import Options, Stop


def main(job: str, instant: str) -> int:
    vars(transport)["PATIENCE"] = timedelta(0)
    chosen = Options(as_json=True, share=True)
    output = Output(as_json=True, verbosity=0)
    now, stop = datetime.fromisoformat(instant), Stop(timedelta(seconds=8))
    return int(run(Invocation(registry.entry(job), chosen, load().settings, output, stop, now)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
