"""The RealBlur score against shifts of known size, and where it cannot be given."""

import sys

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import skimage.metrics

from mprnet_jax import images
from mprnet_jax.evaluation import realblur
from mprnet_jax.support.errors import UserError

cv2 = pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def sharp() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[:384, 60:412])


@pytest.fixture(scope="module")
def blurred(sharp) -> np.ndarray:
    return np.rint(scipy.ndimage.gaussian_filter(sharp.astype(float), (2.5, 2.5, 0))).astype(np.uint8)


def test_without_a_shift_it_is_the_plain_score_but_for_the_brightness(sharp, blurred):
    scores = realblur.score(blurred, sharp)
    z, x = blurred / 255, sharp / 255
    z = z * (x * z).sum() / (z * z).sum()
    assert scores["psnr_aligned"] == pytest.approx(10 * np.log10(1 / ((z - x) ** 2).mean()), abs=0.1)
    ssim = skimage.metrics.structural_similarity(
        z, x, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert scores["ssim_aligned"] == pytest.approx(ssim, abs=0.01)


HOMOGRAPHIES = {
    "shift": [[1, 0, 3.4], [0, 1, -2.6], [0, 0, 1]],
    "scale": [[1.01, 0, -1.5], [0, 0.995, 1.0], [0, 0, 1]],
    "homography": [[1.004, 0.003, 1.5], [-0.002, 0.997, -2.0], [2e-6, -3e-6, 1]],
}


@pytest.mark.parametrize("kind", HOMOGRAPHIES)
def test_a_known_homography_and_brightness_cost_under_a_tenth_of_a_db(kind, sharp, blurred):
    height, width, _ = sharp.shape
    moved = cv2.warpPerspective(
        blurred.astype(np.float32) / 255,
        np.array(HOMOGRAPHIES[kind]),
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )
    plain = realblur.score(blurred, sharp)
    scores = realblur.score(images.to_uint8(0.8 * moved), sharp)
    assert scores["psnr_aligned"] == pytest.approx(plain["psnr_aligned"], abs=0.1)
    assert scores["ssim_aligned"] == pytest.approx(plain["ssim_aligned"], abs=0.005)


def test_psnr_alone_is_the_same(sharp, blurred):
    assert realblur.psnr_aligned(blurred, sharp) == realblur.score(blurred, sharp)["psnr_aligned"]


@pytest.mark.parametrize(
    ("restored", "message"),
    [
        (lambda shape: np.zeros(shape, np.uint8), "the restored image is black"),
        (lambda shape: np.full(shape, 90, np.uint8), "did not converge"),
    ],
)
def test_what_cannot_be_aligned_is_one_line(restored, message, sharp):
    with pytest.raises(UserError, match=message) as caught:
        realblur.score(restored(sharp.shape), sharp)
    assert "\n" not in str(caught.value)


def test_a_picture_smaller_than_the_window_is_one_line(sharp):
    with pytest.raises(UserError, match="at least 11 x 11 pixels, got 10 x 40"):
        realblur.score(sharp[:10, :40], sharp[:10, :40])


def test_without_opencv_the_pip_command_is_said(sharp, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"opencv-python-headless.*pip install 'mprnet_jax\[evaluate\]'"):
        realblur.score(sharp, sharp)
