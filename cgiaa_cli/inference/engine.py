"""The network, run by ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.bundles import Bundle
from cgiaa_cli.config import DEVICES
from cgiaa_cli.errors import BundleError, CgiaaError, DeviceError, UsageError
from cgiaa_cli.imaging.preprocess import Inputs, batch
from cgiaa_cli.inference import usable_cpus
from cgiaa_cli.inference.crops import candidates
from cgiaa_cli.inference.scores import ATTRIBUTES, Scores
from cgiaa_cli.paths import escape

__all__ = ["Engine", "import_onnxruntime"]

OUTPUTS = ("distribution", "attributes", "technical", "complexity", "embedding")
CROP = "crop"  # an output that a network may have
CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
_LEVELS = np.arange(1.0, 11.0)
_FATAL_ONLY = 4  # a log level of ONNX Runtime: what fails is raised, and stderr is for our own lines


class Engine:
    """Scores photos with one bundle on one device.

    Args:
        bundle: a loaded (so verified) bundle.
        device: `auto` takes CUDA where a session really gets it, else the CPU; `cpu`; `cuda`.
        threads: CPU threads of one operator; None: as many as this process may use.

    Attributes:
        bundle: the bundle.
        providers: the execution providers that the session got, not the ones that were asked for.
        device: `cuda` or `cpu`, from `providers`.
        crops: whether the network chooses crops.

    Raises:
        DeviceError: `cuda` was asked for and the session runs elsewhere.
        BundleError: ONNX Runtime cannot load the network, or it has other inputs or outputs.
        CgiaaError: ONNX Runtime is not installed.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", threads: int | None = None) -> None:
        if device not in DEVICES:
            raise UsageError(f"device '{device}' is not known", mend=f"choose one of {', '.join(DEVICES)}")
        self.bundle = bundle
        self._session = _open(bundle, device, threads or usable_cpus())
        self.providers: list[str] = list(self._session.get_providers())
        self.device = "cuda" if CUDA in self.providers else "cpu"
        there = {output.name for output in self._session.get_outputs()}
        self.crops = CROP in there
        self._how = _only_what_is_asked() if self.crops else None
        missing = set(OUTPUTS) - there
        if missing:
            raise self._broken(f"the network has no output {', '.join(sorted(missing))}")

    def run(self, inputs: list[Inputs]) -> list[Scores]:
        """Score a batch; the answer has the order of `inputs`.

        Raises:
            BundleError: an output has the wrong shape or is not finite.
            CgiaaError: the device failed, e.g. for want of memory.
        """
        if not inputs:
            return []
        found = self._outputs(OUTPUTS, inputs)
        self._check(found, len(inputs))
        return [_scores(found, i) for i in range(len(inputs))]

    def overlaps(self, inputs: list[Inputs]) -> NDArray[np.float32]:
        """(B, N) overlap (IoU, 0..1) of each of `crops.candidates` with the crop that people would make.

        Only for a network that `crops`; it costs a fraction of `run`.

        Raises:
            BundleError: the output has the wrong shape or is not finite.
            CgiaaError: the device failed.
        """
        found = self._outputs([CROP], inputs)[CROP]
        if found.shape != (len(inputs), len(candidates())) or not np.isfinite(found).all():
            raise self._broken(f"output {CROP} is not one overlap for each of {len(candidates())} crops")
        return found.astype(np.float32)

    def _outputs(self, names: Sequence[str], inputs: list[Inputs]) -> dict[str, NDArray[Any]]:
        try:
            raw = self._session.run(names, batch(inputs), self._how)
        except MemoryError:
            raise
        except Exception as error:  # ONNX Runtime's own classes, which share no base
            raise CgiaaError(
                f"ONNX Runtime failed on {self.device}: {_first_line(error)}",
                path=escape(self.bundle.encoder),
                mend="try --device cpu or a smaller --batch-size",
            ) from error
        return dict(zip(names, raw, strict=True))

    def _check(self, found: dict[str, NDArray[Any]], count: int) -> None:
        shapes: dict[str, tuple[int, ...]] = {"distribution": (count, 10), "attributes": (count, 4)}
        shapes |= {"technical": (count,), "complexity": (count,)}
        shapes |= {"embedding": (count, *found["embedding"].shape[-1:])}
        for name, value in found.items():
            if value.shape != shapes[name]:
                raise self._broken(f"output {name} has shape {value.shape}")
            if not np.isfinite(value).all():
                raise self._broken(f"output {name} has a value that is not finite")
        distribution = found["distribution"]
        if (distribution < -1e-6).any() or (abs(distribution.sum(1) - 1) > 1e-3).any():
            raise self._broken("output distribution is not probabilities")

    def _broken(self, cause: str) -> BundleError:
        return BundleError(cause, path=escape(self.bundle.encoder), mend="choose another bundle with --model")


def import_onnxruntime() -> Any:
    """The module `onnxruntime`, which comes with either of two extras.

    Raises:
        CgiaaError: neither is installed, or the one that is cannot be imported.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise CgiaaError(
            "ONNX Runtime is not installed",
            mend="install it with: pip install 'cgiaa[cpu]' (or 'cgiaa[gpu]' for CUDA)",
        ) from None
    except ImportError as error:
        raise CgiaaError(
            f"ONNX Runtime is installed but cannot be imported: {_first_line(error)}",
            mend="reinstall it: pip install --force-reinstall onnxruntime",
        ) from error
    return onnxruntime


def _only_what_is_asked() -> Any:
    """Else a scan would pay for crops that nobody wants to know of."""
    how = import_onnxruntime().RunOptions()
    how.only_execute_path_to_fetches = True
    return how


def _open(bundle: Bundle, device: str, threads: int) -> Any:
    ort = import_onnxruntime()
    available = ort.get_available_providers()
    if device != "cpu" and CUDA in available:
        # it prints what it cannot find; redirecting stdout would swallow what other threads print meanwhile
        ort.print = lambda *_, **__: None
        ort.set_default_logger_severity(_FATAL_ONLY)  # nor the libraries that it misses: `_no_cuda` is one line
        getattr(ort, "preload_dlls", lambda: None)()  # CUDA from pip is on no library path
        try:
            session = _session(ort, bundle, [CUDA, CPU], threads)
        except Exception as error:
            if device == "cuda":
                raise _no_cuda(_first_line(error)) from error
        else:
            if device == "auto" or CUDA in session.get_providers():
                return session
            raise _no_cuda("the session did not get it")
    elif device == "cuda":
        raise _no_cuda(f"this ONNX Runtime offers {', '.join(available)}")
    try:
        return _session(ort, bundle, [CPU], threads)
    except Exception as error:
        raise BundleError(
            f"ONNX Runtime {ort.__version__} cannot load it: {_first_line(error)}",
            path=escape(bundle.encoder),
            mend="update onnxruntime, or choose another bundle with --model",
        ) from error


def _session(ort: Any, bundle: Bundle, providers: list[str], threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _FATAL_ONLY
    # between two operators ONNX Runtime's threads would burn the cores that decode the next photos
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # its fallback prints to stdout, where our answer goes, and hides that CUDA failed
    return ort.InferenceSession(os.fspath(bundle.encoder), options, providers=providers, enable_fallback=0)


def _no_cuda(cause: str) -> DeviceError:
    return DeviceError(
        f"CUDA cannot be used: {cause}",
        mend="use --device cpu, or: pip uninstall onnxruntime; pip install 'cgiaa[gpu]'",
    )


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _scores(found: dict[str, NDArray[Any]], i: int) -> Scores:
    distribution = np.clip(found["distribution"][i].astype(np.float64), 0, None)
    distribution /= distribution.sum()
    score = float(distribution @ _LEVELS)
    spread = float(np.sqrt(distribution @ (_LEVELS - score) ** 2))
    return Scores(
        score=score,
        spread=spread,
        distribution=tuple(distribution.tolist()),
        attributes=dict(zip(ATTRIBUTES, map(float, found["attributes"][i]), strict=True)),
        technical=float(found["technical"][i]),
        complexity=float(found["complexity"][i]),
        embedding=found["embedding"][i].astype(np.float16),
    )
