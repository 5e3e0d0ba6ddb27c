"""LightGBM's trees by the library's C interface, for prediction alone.

Its Python package spends more on a row than the trees do, and imports pandas, scikit-learn and SciPy where they
are installed: 1 s and 150 MB for each process. So whoever only predicts loads the shared library itself.
https://lightgbm.readthedocs.io/en/stable/C-API.html
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import weakref
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_NORMAL, _ALL_TREES, _FLOAT64 = 0, -1, 1  # C_API_PREDICT_NORMAL, num_iteration, C_API_DTYPE_FLOAT64
_PARAMETERS = b"num_threads=1 verbosity=-1"
_BYTES = 8
_LogCallback = ctypes.CFUNCTYPE(None, c_char_p)


class TreesError(Exception):
    """LightGBM refused; the text is its own."""


class Trees:
    """The trees of one model. One thread at a time may ask them.

    Rows go through them one by one: that is as fast as the library's call for many rows, faster for few, and
    gives the same bits for a row whatever else is in its batch.

    Parameters
    ----------
    text
        As LightGBM saves a model.

    Raises
    ------
    TreesError
        If the library is not there, or makes nothing of the text.
    """

    def __init__(self, text: str) -> None:
        library = _library()
        booster, fast, count = c_void_p(), c_void_p(), c_int()
        weakref.finalize(self, library.release, fast, booster)
        library.check(library.load(text.encode(), byref(count), byref(booster)))
        library.check(library.feature_count(booster, byref(count)))
        self.features = count.value
        given = (_NORMAL, 0, _ALL_TREES, _FLOAT64, self.features, _PARAMETERS)
        library.check(library.prepare(booster, *given, byref(fast)))
        self._library = library
        self._fast = fast

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the trees say of each row.

        Parameters
        ----------
        rows
            Shape (n, features); NaN: missing.

        Returns
        -------
        ndarray
            Shape (n,).
        """
        count, width = rows.shape
        if width != self.features:
            raise ValueError(f"rows have {width} features, expected {self.features}")
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        found = np.empty(count)
        predict, fast, length = self._library.predict, self._fast, byref(c_int64())
        source, target = rows.ctypes.data, found.ctypes.data
        for place in range(count):
            if predict(fast, source + place * width * _BYTES, length, target + place * _BYTES):
                self._library.check(-1)
        return found


class _Library:
    """The functions that are needed of the shared library.

    Those that take long let other threads run. A prediction takes microseconds and keeps the interpreter: to
    give it up for each row would cost a wait for whichever thread took it.
    """

    def __init__(self, path: Path) -> None:
        patient, swift = ctypes.CDLL(str(path)), ctypes.PyDLL(str(path))
        self.load = patient.LGBM_BoosterLoadModelFromString
        self.load.argtypes = (c_char_p, POINTER(c_int), POINTER(c_void_p))
        self._free = patient.LGBM_BoosterFree
        self._free.argtypes = (c_void_p,)
        self.feature_count = patient.LGBM_BoosterGetNumFeature
        self.feature_count.argtypes = (c_void_p, POINTER(c_int))
        self.prepare = patient.LGBM_BoosterPredictForMatSingleRowFastInit
        self.prepare.argtypes = (c_void_p, c_int, c_int, c_int, c_int, c_int32, c_char_p, POINTER(c_void_p))
        self._forget = patient.LGBM_FastConfigFree
        self._forget.argtypes = (c_void_p,)
        self.predict = swift.LGBM_BoosterPredictForMatSingleRowFast
        self.predict.argtypes = (c_void_p, c_void_p, POINTER(c_int64), c_void_p)
        self._last_error = patient.LGBM_GetLastError
        self._last_error.restype = c_char_p
        self._silence = _LogCallback(lambda message: None)  # else it writes to standard output
        patient.LGBM_RegisterLogCallback(self._silence)

    def release(self, fast: c_void_p, booster: c_void_p) -> None:
        """Give back the memory of a model, as far as it was made."""
        if fast:
            self._forget(fast)
        if booster:
            self._free(booster)

    def check(self, code: int) -> None:
        """Raise what the library says of a call that gave `code`."""
        if code:
            raise TreesError((self._last_error() or b"").decode(errors="replace")[:300])


@cache
def _library() -> _Library:
    # Before it is loaded: its thread pool hangs for ever in a process forked after its first use.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = importlib.util.find_spec("lightgbm")  # finds, and does not import
    folders = (found.submodule_search_locations if found is not None else None) or ()
    for folder in folders:
        for name in ("lib", "bin", ".."):
            path = Path(folder) / name / "lib_lightgbm.so"
            if path.is_file():
                return _Library(path)
    raise TreesError(
        "lib_lightgbm.so is not found; install LightGBM's wheel: pip install --force-reinstall lightgbm"
    )
