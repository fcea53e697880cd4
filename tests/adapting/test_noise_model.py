"""Noise that was made with known parameters is found again, and texture is not taken for it."""

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.adapting import words
from mprnet_jax.adapting.noise_model import correlation, detrending, level, measure, measure_camera
from mprnet_jax.adapting.patches import SIDE, plane_basis, smooth_places
from mprnet_jax.adapting.photos import Photo
from mprnet_jax.checkpoints.pretrained import SAMPLES
from mprnet_jax.data.degradations.measured_noise import (
    LEVELS,
    REACH,
    MeasuredNoise,
    NoiseProfile,
    draw_noise,
    profiles_text,
    read_profiles,
)
from mprnet_jax.support.errors import UserError
from tests.helpers.noisy_photos import known_noise, smooth_scene, to_file

SHAPE = (480, 640)
LUMA, CHROMA, SHARED = 0.6, 1.5, 0.5  # pixels, pixels, share of the variance


def gaussian_correlation(distance, sigma):
    """Of white noise behind a Gaussian, sampled at pixels: its autocorrelation, written out."""
    taps = np.exp(-0.5 * (np.arange(-30, 31) / sigma) ** 2)
    return (taps[distance:] * taps[: len(taps) - distance]).sum() / (taps**2).sum()


@pytest.fixture(scope="module")
def photos():
    """Sigma rises with the brightness: 3 + brightness / 50."""
    made = []
    for number in range(3):
        scene = smooth_scene(*SHAPE, number)
        noise = (3 + scene / 50) * known_noise(SHAPE, LUMA, CHROMA, SHARED, number)
        made.append(Photo.of(f"{number}", to_file(scene + noise)))
    return made


@pytest.fixture(scope="module")
def profiles(photos):
    return measure_camera(photos)


def test_the_strength_is_found_within_a_tenth_at_every_brightness_that_there_is(profiles):
    assert len(profiles) == 3
    for profile in profiles:
        for colour, seen in enumerate((slice(5, 12), slice(5, 11), slice(6, 9))):
            wanted = 3 + LEVELS[seen] / 50
            np.testing.assert_allclose(profile.sigma[colour, seen], wanted, rtol=0.1)


@pytest.mark.parametrize("distance", [1, 2, 3, 4])
def test_the_correlation_of_luma_and_of_chroma_is_found_within_a_twentieth(profiles, distance):
    chroma = gaussian_correlation(distance, CHROMA)
    weights = np.full(3, 1 / 3)
    shares = np.array([SHARED, (1 - SHARED) / 3])  # of luma's variance
    luma = shares @ [gaussian_correlation(distance, LUMA), chroma] / shares.sum()
    mean = lambda of: np.mean([correlation(profile, distance, of) for profile in profiles])
    assert mean(words.RED_GREEN) == pytest.approx(chroma, abs=0.05)
    assert mean(weights) == pytest.approx(luma, abs=0.05)


def test_the_correlation_between_colours_is_found(profiles):
    for profile in profiles:
        assert words.between_colours(profile) == pytest.approx(SHARED, abs=0.05)


def test_white_noise_has_no_correlation():
    photo = Photo.of("white", to_file(smooth_scene(*SHAPE) + 6 * np.random.default_rng(0).standard_normal((*SHAPE, 3))))
    (profile,) = measure([photo])
    assert level(profile) == pytest.approx(6, rel=0.1)
    off = profile.covariance.copy()
    off[REACH, REACH] = 0
    assert np.abs(off).max() < 0.05


def test_texture_of_clean_photographs_is_not_taken_for_noise():
    names = ("bridge_sigma50", "cat_camera15", "coffee_clean", "koala_sigma25")
    clean = [images.read(SAMPLES / "denoising" / "target" / f"{name}.png") for name in names]
    assert measure_camera([Photo.of(name, picture) for name, picture in zip(names, clean, strict=True)]) == []


def test_texture_alone_is_left_out_when_other_photos_tell_it_from_noise():
    def photo(number, extra):
        noise = 4 * known_noise((288, 384), 0.5, 1.0, 0.5, number)
        return Photo.of(f"{number}", to_file(smooth_scene(288, 384, number) + noise + extra))

    cloth = 12 * known_noise((288, 384), 3.0, 3.0, 1.0, 9)  # everywhere, so that no patch is smooth
    photos = [photo(number, 0) for number in range(4)] + [photo(4, cloth), photo(5, cloth)]
    profiles = measure_camera(photos)
    assert {profile.name for profile in profiles} <= {"0", "1", "2", "3"}
    assert np.median([level(profile) for profile in profiles]) == pytest.approx(4, rel=0.1)


def test_clipped_patches_do_not_count():
    scene = np.zeros((288, 384, 3))
    scene[:, 192:] = 120
    noisy = to_file(scene + 8 * np.random.default_rng(0).standard_normal(scene.shape))
    places = smooth_places(noisy)
    assert len(places)
    assert (places[:, 1] >= 192 // SIDE).all()


def test_what_taking_out_the_plane_does_to_a_covariance_is_as_by_brute_force():
    rng = np.random.default_rng(0)
    flat = plane_basis()
    project = np.eye(SIDE * SIDE) - flat @ flat.T
    lags = [(row, column) for row in range(-REACH, REACH + 1) for column in range(-REACH, REACH + 1)]
    for _ in range(3):
        of, to = rng.integers(len(lags), size=2)
        shift = lambda lag: np.kron(np.eye(SIDE, k=lag[0]), np.eye(SIDE, k=lag[1]))
        pairs = shift(lags[to]).sum()
        expected = np.trace(shift(lags[to]).T @ project @ shift(lags[of]) @ project) / pairs
        assert detrending()[to, of] == pytest.approx(expected, abs=1e-9)


def test_drawn_noise_has_the_profile_it_is_drawn_from(profiles):
    profile = profiles[0]
    grey = np.full((256, 256, 3), 128, np.uint8)
    noise = np.stack([draw_noise(profile, grey, np.random.default_rng(seed)) for seed in range(4)])
    np.testing.assert_allclose(noise.std(axis=(0, 1, 2)), profile.sigma_at(grey[:1, :1].astype(float))[0, 0], rtol=0.05)
    unit = noise / noise.std(axis=(0, 1, 2))
    for row, column in ((0, 1), (0, 3), (2, 0), (1, -1)):
        moved = np.roll(unit, (-row, -column), axis=(1, 2))
        found = np.einsum("nhwa,nhwb->ab", unit, moved) / unit[..., 0].size
        np.testing.assert_allclose(found, profile.covariance[REACH + row, REACH + column], atol=0.04)


def test_profiles_survive_their_file_and_the_same_draw_gives_the_same_noise(tmp_path, profiles):
    path = tmp_path / "noise.json"
    path.write_text(profiles_text(profiles))
    degradation = MeasuredNoise(str(path))
    clean = np.full((40, 48, 3), 100, np.uint8)
    first, second = (degradation(clean, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.std() > 2
    back = NoiseProfile.from_json(profiles[0].to_json())
    np.testing.assert_allclose(back.sigma, profiles[0].sigma, atol=1e-3)
    np.testing.assert_allclose(back.covariance, profiles[0].covariance, atol=1e-4)


def test_without_a_file_the_noise_is_white_and_a_file_of_something_else_is_named(tmp_path):
    noise = MeasuredNoise(strength=(1, 1))(np.full((200, 200, 3), 128, np.uint8), np.random.default_rng(0)).astype(
        float
    )
    assert noise.std() == pytest.approx(5, rel=0.03)
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.02
    for name, text in (("gone", None), ("other", "{}"), ("text", "x"), ("empty", '{"profiles": []}')):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=rf"{name}: .*mprnet_jax.adapt writes such files"):
            read_profiles(str(tmp_path / name))


def test_words_name_sigma_grain_and_blotches(profiles):
    (line,) = words.describe(profiles)
    assert line.startswith("noise: sigma 5.")
    assert "blotches of colour of " in line
    assert "(3 photos)" in line
    strong = NoiseProfile(profiles[0].sigma * 4, profiles[0].covariance, "x", 6400)
    lines = words.describe([*profiles, strong])
    assert lines[0].startswith("ISO 6400: sigma 2")
    assert "the photos differ" in lines[-1]
