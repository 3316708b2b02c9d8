"""Cloud-shaped gaps from a seed: smooth noise above a threshold."""

import numpy as np

FALL = 4 / 3
"""Exponent of the wavenumber in the amplitudes, so that the power spectrum along a line falls with the power 5/3, as
measured in clouds (R. F. Cahalan, J. B. Snider, "Marine Stratocumulus Structure", 1989)."""

_AT_ONCE = 256


def cloud_gaps(count: int, size: int, coverage: float, rng: np.random.Generator) -> np.ndarray:
    """Masks of gaps: uint8 (count, size, size), 1 in a gap and 0 elsewhere.

    Each mask is created by spectral synthesis (D. Saupe, "Algorithms for random fractals", in "The Science of Fractal
    Images", 1988): the Fourier transform of white Gaussian noise is multiplied by the wavenumber to the power -4/3 and
    transformed back. The noise has twice the side length, and a quarter of it is used, because it is periodic. The
    highest values form the gap: a share `coverage` of the pixels, rounded, at least one and not all.
    """
    side = 2 * size
    wavenumber = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    wavenumber[0, 0] = np.inf
    amplitude = wavenumber**-FALL
    pixels = size * size
    hidden = min(max(1, round(coverage * pixels)), pixels - 1)
    masks = np.zeros((count, pixels), dtype=np.uint8)
    for start in range(0, count, _AT_ONCE):
        part = masks[start : start + _AT_ONCE]
        noise = np.fft.rfft2(rng.standard_normal((len(part), side, side)))
        field = np.fft.irfft2(noise * amplitude, s=(side, side))[:, :size, :size].reshape(len(part), pixels)
        np.put_along_axis(part, np.argpartition(field, pixels - hidden, axis=1)[:, pixels - hidden :], 1, axis=1)
    return masks.reshape(count, size, size)
