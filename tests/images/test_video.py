"""Videos: every frame restored, and everything else as it was."""

import collections.abc
import enum
import types
from fractions import Fraction

import numpy as np
import pytest

from mprnet_jax import images
from mprnet_jax.checkpoints.bundle import Bundle
from mprnet_jax.checkpoints.bundle_writer import save_bundle
from mprnet_jax.images import video
from mprnet_jax.infer import main
from mprnet_jax.model import init_params
from mprnet_jax.support.errors import UserError

av = pytest.importorskip("av")

HEIGHT, WIDTH, FRAMES = 48, 64, 10
BT709 = 1
STAMPS = [0, 40, 80, 170, 210, 250, 400, 440, 480, 520]  # milliseconds: the rate varies
STEADY = [40 * i for i in range(FRAMES)]


def pattern(i):
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([128 + 90 * np.sin(x / 9 + i / 3), 40 + 3 * y, 200 - x - y], axis=-1).astype(np.uint8)


def make_video(path, codec="libx264", pixels="yuv420p", sound="aac", stamps=STAMPS, turned=0, full_range=False):
    """A video of moving colours with a sound, and in a .mkv with subtitles and a chapter."""
    with av.open(str(path), "w") as output:
        picture = output.add_stream(codec, rate=25, width=WIDTH, height=HEIGHT, pix_fmt=pixels)
        picture.codec_context.time_base = Fraction(1, 1000) if stamps is STAMPS else Fraction(1, 25)
        picture.codec_context.colorspace = picture.codec_context.color_primaries = BT709
        picture.codec_context.color_range = 2 if full_range else 1
        picture.codec_context.sample_aspect_ratio = Fraction(4, 3)
        if codec == "libx265":
            picture.options = {"x265-params": "log-level=none"}
        if turned:
            picture.set_display_rotation(turned)
        output.metadata["title"] = "Ünï"
        speech = output.add_stream(sound, rate=48000, layout="mono") if sound else None
        for i, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(pattern(i), "rgb24").reformat(
                format=pixels, dst_colorspace="ITU709", dst_color_range="JPEG" if full_range else "MPEG"
            )
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            output.mux(picture.encode(frame))
            if speech:
                wave = np.sin(np.arange(1024) / (20 + i)).astype(np.float32)[None]
                tone = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
                tone.rate, tone.pts = 48000, 1024 * i
                output.mux(speech.encode(tone))
        output.mux(picture.encode(None))
        if speech:
            output.mux(speech.encode(None))
    return path


def packets(path, kind):
    """(time in seconds, bytes) of a stream's packets, in order of time."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return sorted(
            (packet.pts * stream.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size
        )


def frames(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def about(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        first = next(container.decode(stream))
        return {
            "codec": context.name,
            "pixels": context.pix_fmt,
            "range": context.color_range,
            "colours": (context.colorspace, context.color_primaries),
            "size": (context.height, context.width),
            "shape": stream.sample_aspect_ratio,
            "turned": first.rotation,
            "title": {name.lower(): text for name, text in container.metadata.items()}.get("title"),
        }


def darker(pixels):
    """A restorer that can be checked: it takes a tenth off."""
    assert pixels.dtype == np.uint16
    return (pixels * 0.9).astype(np.uint16)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"turned": 90}),
        ("full.mp4", {"full_range": True}),
        ("a.mov", {"codec": "prores_ks", "pixels": "yuv422p10le", "sound": "pcm_s16le", "turned": 180}),
        ("a.mkv", {"codec": "libx265", "pixels": "yuv420p10le", "turned": 270}),
        ("a.webm", {"codec": "libvpx-vp9", "sound": "libopus"}),
        ("a.avi", {"codec": "mpeg4", "sound": "mp3", "stamps": STEADY}),
        ("mute.mkv", {"codec": "ffv1", "pixels": "yuva420p", "sound": None}),
    ],
)
def test_frames_are_restored_and_all_else_stays(tmp_path, name, options):
    source, result = make_video(tmp_path / name, **options), tmp_path / "out" / name
    told = []
    video.restore_video(darker, source, result, lambda *part: told.append(part))
    assert told == [(i + 1, FRAMES) for i in range(FRAMES)]
    assert [time for time, _ in packets(result, "video")] == [time for time, _ in packets(source, "video")]
    if options.get("sound", "aac"):
        assert packets(result, "audio") == packets(source, "audio")
    assert about(result) == about(source)
    before, after = frames(source), frames(result)
    assert len(after) == FRAMES
    for a, b in zip(before, after, strict=True):
        assert np.abs(b - 0.9 * a).mean() < 3  # the codec's loss; in the wrong matrix or range it is 6 and more
    assert [path.name for path in result.parent.iterdir()] == [name]


@pytest.mark.parametrize("full_range", [False, True])
def test_a_lossless_codec_shows_that_the_colours_go_there_and_back(tmp_path, full_range):
    """ffv1 in yuv444p: at most one level of the 256 is lost on the way through RGB."""
    source = make_video(tmp_path / "a.mkv", codec="ffv1", pixels="yuv444p", sound=None, full_range=full_range)
    assert (about(source)["pixels"], about(source)["range"]) == ("yuv444p", 2 if full_range else 1)
    video.restore_video(lambda pixels: pixels, source, tmp_path / "b.mkv")

    def planes(path):
        with av.open(str(path)) as container:
            return np.stack([frame.to_ndarray().astype(int) for frame in container.decode(video=0)])

    assert np.abs(planes(tmp_path / "b.mkv") - planes(source)).max() <= 1


def test_a_video_that_ends_early_or_is_none_is_named_and_leaves_nothing(tmp_path):
    data = make_video(tmp_path / "a.mp4").read_bytes()
    long = make_video(tmp_path / "long.mkv", stamps=[40 * i for i in range(100)], sound=None).read_bytes()
    bad = {
        "cut.mp4": data[: len(data) // 2],
        "cut.mkv": long[: len(long) // 2],
        "text.mp4": b"not a video",
        "empty.mkv": b"",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name) as caught:
            video.restore_video(darker, tmp_path / name, tmp_path / "out" / name)
        assert "\n" not in str(caught.value)
        assert ";" in str(caught.value)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "ffv1"), ("a.mp4", "libx264"), ("a.avi", "mpeg4")])
def test_damage_in_the_middle_is_named_before_anything_is_restored(tmp_path, name, codec):
    path = make_video(tmp_path / name, codec, sound=None, stamps=STEADY)
    with av.open(str(path)) as container:
        place, size = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][4]
    data = bytearray(path.read_bytes())
    hurt = slice(place + size // 2, place + size // 2 + max(4, size // 4))
    data[hurt] = bytes(255 - byte for byte in data[hurt])
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"{name}: (damaged after 0\..|not a whole video)"):
        video.restore_video(pytest.fail, path, tmp_path / "out" / name)
    assert not (tmp_path / "out").exists()


def test_an_interruption_leaves_nothing(tmp_path):
    def interrupt(pixels):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        video.restore_video(interrupt, make_video(tmp_path / "a.mp4"), tmp_path / "out" / "a.mp4")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_result_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match=r"a.mp4: cannot be written \(.*\); "):
        video.restore_video(darker, make_video(tmp_path / "a.mp4"), tmp_path / "out" / "a.mp4")


def test_videos_and_pictures_go_through_one_call(tmp_path, tiny, photo, capsys):
    save_bundle(tmp_path / "bundle", Bundle(tiny, init_params(tiny, seed=0), {}))
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "a.mp4")
    make_video(tmp_path / "b.mkv", sound=None)
    (tmp_path / "in" / "broken.mp4").write_bytes(b"not a video")
    images.write(tmp_path / "in" / "c.png", photo[:HEIGHT, :WIDTH])
    before = (tmp_path / "in" / "a.mp4").read_bytes()
    command = ["--checkpoint", str(tmp_path / "bundle"), "--output", str(tmp_path / "out"), "--format", "jpg"]
    command += ["--input", str(tmp_path / "in"), str(tmp_path / "b.mkv")]
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("."))
    assert names == ["a.mp4", "b.mkv", "c.jpg"]
    output = capsys.readouterr()
    assert "3 restored, 1 failed" in output.out
    (line,) = output.err.splitlines()
    assert "broken.mp4: not a whole video" in line
    assert (tmp_path / "in" / "a.mp4").read_bytes() == before
    assert len(frames(tmp_path / "out" / "a.mp4")) == FRAMES


def make_hdr10(path):
    """HEVC marked as Apple's, with static HDR metadata and a tag of QuickTime."""
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    params = f"log-level=none:hdr10=1:repeat-headers=1:master-display={display}:max-cll=1000,400"
    with av.open(str(path), "w", format="mov", options={"movflags": "use_metadata_tags"}) as output:
        stream = output.add_stream("libx265", rate=25, width=64, height=48, pix_fmt="yuv420p10le")
        stream.options = {"x265-params": params}
        stream.codec_context.codec_tag = "hvc1"
        output.metadata["com.apple.quicktime.make"] = "Apple"
        for i in range(2):
            frame = av.VideoFrame.from_ndarray(pattern(i), "rgb24").reformat(format="yuv420p10le")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def test_apples_hevc_mark_hdr10_and_quicktime_tags_stay(tmp_path):
    source, result = make_hdr10(tmp_path / "a.mov"), tmp_path / "b.mov"

    def facts(path):
        with av.open(str(path)) as container:
            stream, tags = container.streams.video[0], dict(container.metadata)
            frame = next(container.decode(stream))
            side = video.side_data(frame, stream.codec_context)
            hdr = side["MASTERING_DISPLAY_METADATA"], side["CONTENT_LIGHT_LEVEL"][:8]
            return stream.codec_context.codec_tag, tags["com.apple.quicktime.make"], hdr

    video.restore_video(lambda rgb: rgb, source, result)
    assert facts(source)[0] == "hvc1"
    assert facts(result) == facts(source)


def test_a_matroska_video_that_begins_late_is_whole(tmp_path):
    late = [5000 + 40 * i for i in range(FRAMES)]
    source = make_video(tmp_path / "a.mkv", sound=None, stamps=late)
    assert video.survey(source).frames == FRAMES


def alpha_of(path, decoder):
    """H W of each frame, by libvpx."""
    with av.open(str(path)) as container:
        stream, context = container.streams.video[0], av.codec.CodecContext.create(decoder, "r")
        frames = [frame for packet in container.demux(stream) for frame in context.decode(packet)]
        return [frame.to_ndarray(format="rgba")[..., 3].astype(int) for frame in frames], stream.metadata


@pytest.mark.parametrize(("codec", "mark"), [("libvpx", "vp8"), ("libvpx-vp9", "vp9")])
def test_transparency_of_webm_stays(tmp_path, codec, mark):
    path = tmp_path / "in" / f"{mark}.webm"
    path.parent.mkdir()
    ramp = np.broadcast_to(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, WIDTH))
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25, width=WIDTH, height=HEIGHT, pix_fmt="yuva420p")
        stream.options = {"auto-alt-ref": "0", "crf": "4", "b": "50M"}
        for i in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.dstack([pattern(i), ramp]), "rgba").reformat(format="yuva420p")
            frame.pts = i
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert video.restore_video(lambda image: image, path, tmp_path / "out.webm") == ()
    (before, _), (after, tags) = alpha_of(path, codec), alpha_of(tmp_path / "out.webm", codec)
    assert len(after) == FRAMES
    assert np.abs(np.subtract(before, np.broadcast_to(ramp, (FRAMES, HEIGHT, WIDTH)))).max() < 12  # the input has it
    assert np.abs(np.subtract(after, before)).max() < 12
    assert tags["alpha_mode"] == "1"
    assert np.abs(np.subtract(frames(tmp_path / "out.webm"), frames(path))).mean() < 3


def test_hdr_metadata_that_an_encoder_does_not_take_are_told(tmp_path, monkeypatch):
    hdr10 = video.survey(make_hdr10(tmp_path / "a.mov"))
    assert hdr10.lost == ()
    monkeypatch.setattr(video, "KEEPS_HDR10", "another")
    (lost,) = video.survey(tmp_path / "a.mov").lost
    assert lost == "HDR10 metadata (mastering display, brightest pixel and frame)"


class OfKinds(collections.abc.Mapping):
    """Side data as PyAV has them from version 19 on: a mapping of their kinds, and a list by number."""

    def __init__(self, *held):
        self.held = held

    def __getitem__(self, key):
        return self.held[key] if isinstance(key, int) else next(data for data in self.held if data.type == key)

    def __iter__(self):
        return iter([data.type for data in self.held])

    def __len__(self):
        return len(self.held)


class OfData(OfKinds):
    """And before."""

    def __iter__(self):
        return iter(self.held)


@pytest.mark.parametrize("container", [OfKinds, OfData])
def test_side_data_are_read_whatever_iterating_over_them_gives(container):
    class Data(bytes):
        type = types.SimpleNamespace(name="DISPLAYMATRIX")

    frame = types.SimpleNamespace(side_data=container(Data(b"abc")))
    assert video.side_data(frame) == {"DISPLAYMATRIX": b"abc"}
    light = enum.Enum("Kind", ["CONTENT_LIGHT_LEVEL"]).CONTENT_LIGHT_LEVEL
    decoder = types.SimpleNamespace(decoded_side_data={light: b"light"})
    assert video.side_data(frame, decoder) == {"DISPLAYMATRIX": b"abc", "CONTENT_LIGHT_LEVEL": b"light"}
