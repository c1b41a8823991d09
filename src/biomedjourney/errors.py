"""What an error says to the user: a mistake of theirs, a write that failed, and what nobody foresaw."""

import errno
import os
import re
import shlex
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from biomedjourney import __version__

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# All that safetensors, shutil and torch's old format keep of it, and what Python's tempfile makes of it.
TEXTS = (*(os.strerror(code) for code in FULL), "No usable temporary directory found")
TORCH_WRITER = "inline_container.cc"  # names the file of torch's source that writes and reads zip files
TORCH_READER = "PytorchStreamReader"
LONGEST = 300  # characters of an exception's own text that a message quotes
# What torch, the system and ITK say where memory is short, and the exception is no MemoryError.
NO_MEMORY = ("can't allocate memory", os.strerror(errno.ENOMEM), "Failed to allocate memory")
MORE_MEMORY = "give the step more memory (resources.VERB.mem_mb)"
# A permission, a disk or a server, or too many open files: what may be whole and cannot be reached.
OUT_OF_REACH = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE)
SHOW_TEXTS = "BIOMEDJOURNEY_SHOW_TEXTS"
FRAME = re.compile(r'  File ".+", line \d+, in \S+')
NUMPY_WRITER = re.compile(r"\d+ requested and \d+ written")


class UserError(Exception):
    """A mistake outside the code: in a file, a row, a key or a setting.

    The message is one line, also where it quotes a library that writes several. It names the place, what was expected
    and what to do. The command line prints it without a traceback and exits with status 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


class UserErrors(UserError):
    """Several mistakes at once. The message has one line for each, and the later ones begin with ``error:`` too."""

    def __init__(self, errors: Iterable[UserError]) -> None:
        Exception.__init__(self, "\nerror: ".join(str(error) for error in errors))


def brief(error: Exception) -> str:
    """The type of an exception and what it says, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")[:LONGEST]


def full_disk(error: BaseException | None) -> str | None:
    """Why a write failed, where a full disk, a quota or the largest size of a file is the cause; None for other errors.

    Libraries tell it in different ways: by the number of the system's error, by its text alone, in the exception that
    another one followed, `torch.save` by an assertion about positions in the file, numpy by counts.
    """
    while error is not None and not isinstance(error, UserError):
        if isinstance(error, OSError) and error.errno in FULL:
            return os.strerror(error.errno)
        said = str(error)
        for text in TEXTS:
            if text in said:
                return text
        if (TORCH_WRITER in said and TORCH_READER not in said) or NUMPY_WRITER.fullmatch(said):
            return "the write failed"
        error = error.__cause__ or error.__context__
    return None


def lacks_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(text in str(error) for text in NO_MEMORY)


def out_of_reach(error: BaseException) -> UserError | None:
    """What to say of a file or folder that the system does not let this step reach; None for other errors."""
    if not isinstance(error, OSError) or error.errno not in OUT_OF_REACH:
        return None
    place = error.filename or "a file"
    reason = f"cannot be reached ({os.strerror(error.errno)}), and may be whole"
    return UserError(f"{place}: {reason}: see to its permissions, the disk or the network, then run the step again")


def raise_unless_damage(error: Exception, path: str | os.PathLike[str]) -> None:
    """Raises an error of reading a file again where it tells nothing of the file; call it before you blame the file.

    Short memory: the step is then sent again with more. A file out of reach: it is neither damaged nor absent.
    """
    if isinstance(error, OSError) and out_of_reach(error):
        error.filename = error.filename or os.fspath(path)
        raise error
    if lacks_memory(error):
        raise error


def no_space(path: str | os.PathLike[str], reason: str) -> UserError:
    """The error for a file or folder that a full disk keeps from being written; it tells the space that is left.

    Call it when what was written so far is removed.
    """
    folder = next(parent for parent in Path(path).absolute().parents if parent.is_dir())
    free = tqdm.format_sizeof(shutil.disk_usage(folder).free, "B")
    return UserError(
        f"{path}: cannot be written ({reason}; space left in {folder} without it: {free}): "
        "free some space or write elsewhere, then run the step again"
    )


def _remedy(error: BaseException) -> str:
    """What to do about an error that nobody foresaw; where it says that memory is short, there is more to say."""
    if lacks_memory(error):
        return MORE_MEMORY
    if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU
        return "lower batch_size of the step"
    return "please report it"


def umask() -> int:
    """The umask of this process. It can only be read by setting another one: a strict one, since threads may write."""
    current = os.umask(0o077)
    os.umask(current)
    return current


def hide(path: Path) -> None:
    """Takes from a file or folder that is older than the umask what the umask takes from new ones, where it is ours."""
    with suppress(OSError):
        path.chmod(path.stat().st_mode & ~umask())


def unexpected(error: Exception, log: Path) -> str:
    """Adds the traceback to the log, and returns the one line for the user, which names that file.

    An exception that nobody foresaw may quote a report. So line and log tell its type and place, and what it says only
    where the environment variable `SHOW_TEXTS` asks for it, which the workflow sets where the patients are drawn ones.
    """
    shows_texts = os.environ.get(SHOW_TEXTS) == "1"
    words = [word if shows_texts or not re.search(r"\s", word) else "..." for word in sys.argv[1:]]
    entry = f"{datetime.now():%Y-%m-%d %H:%M:%S} biomedjourney {__version__}: {shlex.join(words)}\n"
    entry += "".join(traceback.format_exception(error) if shows_texts else _without_texts(error))
    where = "the traceback is above, since no log can be written"
    for find in (lambda: log, lambda: Path(tempfile.gettempdir()) / f"biomedjourney-{log.name}"):
        with suppress(OSError):
            path = find()
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(entry)
            where = f"the traceback is in {path}: {_remedy(error)}"
            hide(path)
            break
    else:
        print(entry, file=sys.stderr)
    package = Path(__file__).resolve().parent
    message = type(error).__name__
    if shows_texts:
        message = " ".join("".join(traceback.format_exception_only(error)).split())[:LONGEST]
    else:
        where += f" (without what the error says, which may quote a report; with {SHOW_TEXTS}=1 it is told)"
    frames = [(Path(frame.filename).resolve(), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    module, line = next((path, line) for path, line in reversed(frames) if path.is_relative_to(package))
    return f"unexpected {message} in {module.relative_to(package)}, line {line}: {where}"


def _without_texts(error: BaseException) -> list[str]:
    """The lines of a traceback and of its causes, with the types of the exceptions and not what they say."""
    if type(error).__name__ == "_RemoteTraceback":  # what another process said, as one text
        return [f"{line}\n" for line in str(error).splitlines() if FRAME.fullmatch(line)]
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    causes = [*_without_texts(before), "\nand then\n\n"] if before is not None else []
    begin = "Traceback (most recent call last):\n"
    return [*causes, begin, *traceback.format_tb(error.__traceback__), f"{type(error).__name__}\n"]
