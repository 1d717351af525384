"""Photos are decoded in a process of their own, since a stranger chose their bytes.

Decoders are C libraries. Should one crash, hang or ask for all the memory, that ends the process
and the photo gets its sentence, while the server and everyone else's photos go on. A process stays
for the next photo; `python -m model.sandbox` is what it runs.
"""

from __future__ import annotations

import contextlib
import gc
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, LifoQueue
from typing import IO

from PIL import Image

from model.photo import DAMAGED, TOO_SLOW

MAX_SECONDS = (
    10.0  # from the request to the answer; decoders that can be asked to stop do so before
)
PIPE_BYTES = 1 << 20  # at the usual 64 KiB, both sides wake each other 25 times for one photo
KEPT_BYTES = 32 << 20  # freed memory that a decoder keeps for the next photo: pages are dear
LARGE_BYTES = 8 << 20  # what is larger has pages of its own, so that nothing small can hold them
MAX_MEMORY = 500_000_000  # bytes of address space beside what the process has when it starts
NO_ROOM = "The server has no room to open another photo: try again in a moment."
SETTINGS = {  # of the process's libraries
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES),
    "MALLOC_MMAP_THRESHOLD_": str(LARGE_BYTES),
}
REQUEST = struct.Struct("<QI")  # length of the file, size
ANSWER = struct.Struct("<QII")  # length of the rest, width and height; both 0: a refusal


class Decoder:
    """The process, and the way to it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "model.sandbox"],
            cwd=Path(__file__).parents[1],
            env=os.environ | SETTINGS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        widen(self.process.stdout)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # what was still to be written
                if pipe is not None:
                    pipe.close()

    def ask(self, data: bytes, size: int) -> tuple[int, int, bytes]:
        """Width, height and pixels of a photo; 0, 0 and a sentence if it is refused.

        Raises:
            EOFError: the process ended before it answered.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(REQUEST.pack(len(data), size))
            stdin.write(data)
            stdin.flush()
        except OSError as error:
            raise EOFError from error
        length, width, height = ANSWER.unpack(read(stdout, ANSWER.size))
        return width, height, read(stdout, length)


def widen(pipe: IO[bytes]) -> None:
    """Let ``PIPE_BYTES`` be in transit, where the system lets pipes be widened."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


idle: LifoQueue[Decoder] = LifoQueue()


def free_decoder() -> Decoder:
    """One that waits for work and lives; a new one if there is none."""
    while True:
        try:
            decoder = idle.get_nowait()
        except Empty:
            return Decoder()
        if decoder.process.poll() is None:
            return decoder
        decoder.close()


def start() -> None:
    """Start a process that will be ready when the first photo comes, unless one waits already."""
    with contextlib.suppress(OSError):  # then the first photo tries again, and says what is wrong
        idle.put(free_decoder())


def decode(data: bytes, size: int) -> Image.Image:
    """``photo.decode`` in another process, in bounded memory and time.

    Raises:
        ValueError: not a photo, damaged or too large; one sentence that says what to do.
    """
    try:
        decoder = free_decoder()
    except OSError as error:  # the machine is out of processes, descriptors or memory
        raise ValueError(NO_ROOM) from error
    late = threading.Event()

    def stop() -> None:
        late.set()
        decoder.process.kill()

    alarm = threading.Timer(MAX_SECONDS, stop)
    alarm.start()
    try:
        width, height, answer = decoder.ask(data, size)
    except EOFError as error:
        decoder.close()
        raise ValueError(TOO_SLOW if late.is_set() else DAMAGED) from error
    except BaseException:
        decoder.close()
        raise
    finally:
        alarm.cancel()
    if late.is_set():
        decoder.close()
    else:
        idle.put(decoder)
    if not width:
        raise ValueError(answer.decode())
    return Image.frombytes("RGB", (width, height), answer)


def read(stream: IO[bytes], length: int) -> bytes:
    """Exactly ``length`` bytes; ``EOFError`` if the other side ends before."""
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


def limit_memory() -> None:
    """Let this process take ``MAX_MEMORY`` more, where the system can be asked to see to it."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return
    most = pages * resource.getpagesize() + MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> None:
    """Decode what comes in, until the other side ends."""
    from model import photo

    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    limit_memory()
    gc.freeze()
    usual = resident()
    while header := requests.read(REQUEST.size):
        length, size = REQUEST.unpack(header)
        try:
            image = photo.decode(read(requests, length), size)
            width, height = image.size
            answer = image.tobytes()
        except ValueError as refusal:
            width, height, answer = 0, 0, str(refusal).encode()
        except MemoryError:
            width, height, answer = 0, 0, photo.TOO_BIG.encode()
        answers.write(ANSWER.pack(len(answer), width, height))
        answers.write(answer)
        answers.flush()
        image = answer = None  # type: ignore[assignment]
        gc.collect()  # an opened image refers to itself, and may have hundreds of megabytes
        if resident() > usual + KEPT_BYTES:
            give_back()


def resident() -> int:
    """Bytes of memory that this process has now; 0 where Linux does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Return freed memory between pieces still in use, which glibc keeps by itself."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    main()
