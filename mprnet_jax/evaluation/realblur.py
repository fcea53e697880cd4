"""The RealBlur score: blurred and sharp photo come from two cameras, so the restored image is aligned first.

After Rim et al., ECCV 2020 ("Real-World Blur Dataset for Learning and Benchmarking Deblurring Algorithms"), as the
tables of MPRNet used it. OpenCV finds the homography: the extra `evaluate`.
"""

import numpy as np

from mprnet_jax import images, metrics
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra

COLUMNS = ("psnr_aligned", "ssim_aligned")
ITERATIONS = 100  # of ECC, always all of them: its epsilon is 0
ECC_BLUR = 5  # pixels, Gaussian that ECC applies to both images
CROP = metrics.RADIUS  # pixels cut from each border of the SSIM map: where its window fits


def align(restored: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match brightness, then position: the aligned restored image and its mask, both float32 H W 3.

    The mask is 1 where the aligned image shows something and 0 outside; the image is 0 there. Arguments are uint8 or
    float in [0, 1]. Raises UserError if ECC does not converge.
    """
    cv2 = import_extra("cv2", "opencv-python-headless", "evaluate")
    z, x = images.to_float(restored), images.to_float(target)
    if min(x.shape[:2]) <= 2 * CROP:
        raise UserError(f"SSIM needs at least {2 * CROP + 1} x {2 * CROP + 1} pixels, got {x.shape[0]} x {x.shape[1]}")
    energy = float(np.sum(z * z, dtype=np.float64))
    if energy == 0:
        raise UserError("the restored image is black, so it cannot be aligned; look at it")
    z = np.float32(float(np.sum(x * z, dtype=np.float64)) / energy) * z
    grey_x, grey_z = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (x, z))
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, 0)
    start = np.eye(3, dtype=np.float32)
    try:
        _, homography = cv2.findTransformECC(grey_x, grey_z, start, cv2.MOTION_HOMOGRAPHY, stop, None, ECC_BLUR)
    except cv2.error:
        homography = None
    if homography is None or not np.isfinite(homography).all():
        raise UserError(
            "the alignment (OpenCV findTransformECC) did not converge, so the pair has no score; "
            "look at both images, and name the pair beside the mean"
        )
    size = (x.shape[1], x.shape[0])
    bicubic, nearest = (kind | cv2.WARP_INVERSE_MAP for kind in (cv2.INTER_CUBIC, cv2.INTER_NEAREST))
    warped = cv2.warpPerspective(z, homography, size, flags=bicubic, borderMode=cv2.BORDER_REFLECT)
    mask = cv2.warpPerspective(np.ones_like(z), homography, size, flags=nearest, borderMode=cv2.BORDER_CONSTANT)
    inner = mask[CROP:-CROP, CROP:-CROP]
    if not inner.any():
        raise UserError("the alignment (OpenCV findTransformECC) moved the image out of view; look at both images")
    return warped * mask, mask


def _psnr(aligned: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
    mse = np.sum((aligned - target) ** 2, dtype=np.float64) / np.sum(mask, dtype=np.float64)
    return float(10 * np.log10(1 / mse)) if mse else float("inf")


def psnr_aligned(restored: np.ndarray, target: np.ndarray) -> float:
    """PSNR in dB over what the aligned image shows; arguments and errors as for align."""
    aligned, mask = align(restored, target)
    return _psnr(aligned, images.to_float(target) * mask, mask)


def score(restored: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """psnr_aligned, and the per-channel SSIM averaged over what the aligned image shows.

    Arguments and errors as for align; images must be larger than 10 x 10.
    """
    aligned, mask = align(restored, target)
    target = images.to_float(target) * mask
    inner = mask[CROP:-CROP, CROP:-CROP].astype(np.float64)
    ssim = metrics.ssim_map(aligned, target, peak=1.0) * inner
    ssim_by_channel = ssim.sum(axis=(0, 1)) / inner.sum(axis=(0, 1))
    return {"psnr_aligned": _psnr(aligned, target, mask), "ssim_aligned": float(ssim_by_channel.mean())}
