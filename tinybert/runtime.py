"""Everything that depends on the Paddle version, threads and the memory allocator; the device is in `devices.py`.

Call `prepare` first: it imports Paddle after the settings that Paddle reads at import. The effect of each one on a training step that has
all the others was measured by `benchmark/speed/step.py --modes without` (SST-2, two cores; figures in its README):

* threads: Paddle's CPU kernels use one thread by default; two are 1.7x faster. `--threads 1` sets one; `OMP_NUM_THREADS` is ignored.
* `FLAGS_use_stride_kernel=0`: with strided views (the default), every transposed tensor costs a copy later; 1.6x.
  `FLAGS_use_stride_kernel=1` in the environment enables them.
* glibc returns large blocks to the system at every free and allocates them again in every step; keeping them gives 1.05x with the same
  memory. `TINYBERT_KEEP_MEMORY=0` disables this.
* the MKL in Paddle's wheel takes its slowest code path on processors that are not Intel's: setting the supported instructions
  gives 3.8x on an AMD EPYC with AVX-512. An existing MKL_DEBUG_CPU_TYPE is kept (0 = default behaviour).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import platform
import signal
import sys
import threading
import warnings
import zlib  # Paddle 2.6 exports its own zlib: Python's must be loaded first, or later C extensions crash
from collections.abc import Iterator
from types import ModuleType

from tinybert.errors import UserError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4
_STRIDED_VIEWS = "FLAGS_use_stride_kernel"
INSTALL_PADDLE = (
    "For a CPU: python -m pip install paddlepaddle==3.3.1 (or this project as '.[cpu]'). For a GPU or another device: the build that "
    "https://www.paddlepaddle.org.cn/install/quick names for it."
)
# instruction sets by which kernels are selected
_INSTRUCTIONS = ("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")
_TRUE = ("1", "t", "true", "y", "yes")  # as Paddle reads a flag


def local_processes() -> int:
    """The number of processes started by `paddle.distributed.launch` on this machine, from its variables or the addresses of all
    processes."""
    if "PADDLE_LOCAL_SIZE" in os.environ:
        return int(os.environ["PADDLE_LOCAL_SIZE"])
    own = os.environ.get("PADDLE_CURRENT_ENDPOINT", "").rsplit(":", 1)[0]
    everyone = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")
    return max(1, sum(address.rsplit(":", 1)[0] == own for address in everyone)) if own else 1


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_threads = 1
_bits = None  # NumPy's SFC64: the bits behind dropout on the CPU


def prepare(threads: int | None = None, as_installed: bool = False) -> int:
    """Set flags and allocator, import Paddle, and set its threads; returns the number of threads of this process.

    Processes started by `paddle.distributed.launch` on one machine share its cores evenly. `as_installed` leaves Paddle at its
    defaults, for comparisons.
    """
    if not as_installed:
        prepare_environment()
    if os.path.expanduser("~") == "~" and os.environ.get("PPNLP_HOME"):
        os.environ["HOME"] = os.environ["PPNLP_HOME"]  # else Paddle and PaddleNLP create a folder of that name in the working directory
    os.environ.setdefault("GLOG_minloglevel", "2")
    warnings.filterwarnings("ignore", message="No ccache found")
    warnings.filterwarnings("ignore", message="Setuptools is replacing distutils")
    try:
        with _own_signals():  # Paddle 3.3 installs its own SIGTERM handler
            import paddle
    except ModuleNotFoundError as error:
        if error.name != "paddle":
            raise
        raise UserError(f"Paddle is not installed in this Python ({sys.executable}).\n{INSTALL_PADDLE}") from None

    if not as_installed:
        paddle.set_flags({_STRIDED_VIEWS: os.environ[_STRIDED_VIEWS].lower() in _TRUE})  # again, in case Paddle was imported before
        set_threads(threads or max(1, available_cores() // local_processes()))
    return _threads


def prepare_environment() -> None:
    """Set the environment variables that Paddle reads at import, and the allocator; does not import Paddle."""
    os.environ["OMP_NUM_THREADS"] = "1"  # Paddle warns at import about any other value; `set_threads` sets the threads
    os.environ.setdefault(_STRIDED_VIEWS, "0")
    if os.environ.get("TINYBERT_KEEP_MEMORY", "1") != "0":
        _keep_memory()
    _choose_mkl_path()


def paddlenlp(module: str) -> ModuleType:
    """A module of PaddleNLP by its path below the package, e.g. `transformers.bert.modeling`.

    PaddleNLP 3.0 calls `paddle.disable_signal_handler()` at import. This resets SIGTERM to its default, which ends the process without
    a message and without `finally`, while Python still reports its own handler. The handler is therefore installed again; signals
    received meanwhile are delivered afterwards.
    """
    with _own_signals():
        return importlib.import_module(f"paddlenlp.{module}")


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Reinstall Python's SIGTERM handler after an import that changes it; signals received meanwhile are delivered afterwards."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        answer = signal.getsignal(signal.SIGTERM)
        if answer is not None:  # None: a handler installed from C
            signal.signal(signal.SIGTERM, answer)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _keep_memory() -> None:
    """Let glibc keep freed memory; other C libraries are left unchanged."""
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    # older versions reject a threshold above 32 MB; the other two calls alone would fix it at 128 KB, so mmap is disabled instead
    if not mallopt(_M_MMAP_THRESHOLD, 1 << 30):
        mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 256 << 20)


def _choose_mkl_path() -> None:
    """On AMD processors, set the instruction set for MKL: 7 is AVX-512, 5 is AVX2."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            processor = file.read(8192)
    except OSError:
        return
    if "AuthenticAMD" in processor and "avx2" in processor:
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "7" if "avx512f" in processor else "5")


def rank() -> int:
    """The rank of this process among those started by `paddle.distributed.launch`."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0"))


def world_size() -> int:
    """The number of processes started by `paddle.distributed.launch`, over all machines."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def set_threads(count: int) -> None:
    """Set the number of threads: float32 sums depend on it, so a resumed run uses its original number."""
    import paddle

    global _threads
    _threads = count
    paddle.base.core.set_num_threads(count)


def threads() -> int:
    """The number of threads set by `prepare` or `set_threads`."""
    return _threads


def versions() -> dict[str, str]:
    """Versions of the numerical libraries, recorded with every result."""
    from importlib.metadata import PackageNotFoundError, version

    from tinybert import __version__

    found = {"tinybert": __version__, "python": platform.python_version()}
    for package in ("paddlepaddle", "paddlepaddle-gpu", "paddlenlp", "numpy", "tokenizers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def computing() -> dict[str, str]:
    """What affects the last bits of a result: library versions, and the instruction sets of the processor."""
    found = {name: version for name, version in versions().items() if name not in ("tinybert", "tokenizers")}
    return {**found, "processor": _processor()}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            text = file.read(8192)
    except OSError:
        return platform.machine()
    flags = next((line.split() for line in text.splitlines() if line.startswith(("flags", "Features"))), [])
    vendor = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("vendor_id")), "")
    return " ".join([platform.machine(), vendor, *(name for name in _INSTRUCTIONS if name in flags)]).strip()


def seed_step(seed: int, stage: str, step: int, micro: int = 0, rank_: int = 0) -> None:
    """Seed dropout and sampling from (run seed, stage, step, micro-batch, rank), so that resuming needs no generator state."""
    import paddle

    derived = derive_seed(seed, stage, step, micro, rank_)
    paddle.seed(derived)
    seed_bits(derived)


def seed_bits(seed: int) -> None:
    """Seed `random_bits`."""
    import numpy as np

    global _bits
    _bits = np.random.SFC64(seed)


def random_bits(words: int):
    """An array of `words` random 64-bit words, uint64, from the generator that is seeded in every step."""
    if _bits is None:
        seed_bits(0)
    return _bits.random_raw(words)


def derive_seed(*parts: object) -> int:
    """A 31-bit seed that depends on every part and is the same in all processes and Python versions."""
    return zlib.crc32("/".join(map(str, parts)).encode()) & 0x7FFFFFFF


def random_stream(*key: int):
    """A `RandomState` for a key of integers. Its streams are stable, unlike those of NumPy's `Generator`, so a resumed run repeats
    them.
    """
    import numpy as np

    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(key)))
