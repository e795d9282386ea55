"""Run one command and print, as JSON, what it took: seconds, CPU seconds, peak memory in MiB, exit code.

A process of its own because it must be small: on Linux a child's peak memory begins with that of
whoever started it. Started with `python -I -S`, it imports next to nothing.
"""

import json
import os
import sys
import time


def main(output: str, command: list[str]) -> None:
    stdout = (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    began = time.monotonic()
    process = os.posix_spawn(command[0], command, os.environ, file_actions=[stdout])
    _, status, usage = os.wait4(process, 0)
    took = {
        "wall": time.monotonic() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        # In KiB, but on macOS in bytes.
        "peak": usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10),
        "code": os.waitstatus_to_exitcode(status),
    }
    print(json.dumps(took))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
