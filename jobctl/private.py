"""Files and folders of ours that nobody else may read, and that nobody can put in our way.

A link is not followed, so that it leads to no other file; what is no regular file is refused, so that
nobody's pipe makes us wait. What is there is never cut.
"""

import os
import stat
from pathlib import Path

FOLDER, FILE = 0o700, 0o600


def make_folder(path: Path) -> None:
    """Make a folder that only we may enter; one of ours that others may enter is closed to them."""
    path.mkdir(mode=FOLDER, exist_ok=True)
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise NotADirectoryError(20, "it is a link", str(path))
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(FOLDER)


def open_file(path: Path, *, write: bool) -> int:
    """Open a regular file, made where it lacks if it is to be written; return its descriptor."""
    how = (os.O_RDWR | os.O_CREAT if write else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, how, FILE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(22, "it is no regular file", str(path))
    return descriptor


def write_file(path: Path, content: bytes) -> None:
    """Write a file of ours anew."""
    descriptor = open_file(path, write=True)
    with os.fdopen(descriptor, "r+b") as file:
        file.truncate()
        file.write(content)
