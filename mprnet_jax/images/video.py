"""Videos, frame by frame: everything but the pixels stays as it was. Through PyAV (FFmpeg), the extra `video`.

A frame becomes RGB of 16 bits in the video's own colour matrix and range, is restored, and goes back the same way, with
the codec, pixel format, time stamp and rotation that it had. Audio, subtitles and what else there is are copied as they
are, packet by packet.
"""

import contextlib
import dataclasses
import errno
import math
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mprnet_jax.support.atomic_files import NotReplaced, whole_file
from mprnet_jax.support.errors import UserError
from mprnet_jax.support.optional_imports import import_extra

SUFFIXES = {  # ending -> FFmpeg's name of the container
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
}
# Decoder's name -> encoder, and options that make its loss invisible: a restored video is often cut and encoded again.
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"crf": "16", "preset": "medium"}),
    "hevc": ("libx265", {"crf": "18", "preset": "medium", "x265-params": "log-level=none"}),
    "vp8": ("libvpx", {"crf": "6", "b": "100M", "qmin": "0", "cpu-used": "2"}),
    "vp9": ("libvpx-vp9", {"crf": "18", "b": "0", "cpu-used": "3", "row-mt": "1"}),
    "av1": ("libsvtav1", {"crf": "18", "preset": "7"}),
    "libdav1d": ("libsvtav1", {"crf": "18", "preset": "7"}),
    "mpeg4": ("mpeg4", {"qmin": "2", "qmax": "3"}),
    "mpeg2video": ("mpeg2video", {"qmin": "2", "qmax": "3"}),
    "mjpeg": ("mjpeg", {"qmin": "2", "qmax": "2"}),
    "prores": ("prores_ks", {}),
    "ffv1": ("ffv1", {}),
}
# Decoder's name -> the one that sees transparency, which WebM keeps beside the pictures. FFmpeg's own ones do not.
SEES_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# Of each frame, by FFmpeg's names: no encoder here writes them.
DYNAMIC_HDR = {"DYNAMIC_HDR_PLUS": "HDR10+", "DOVI_RPU_BUFFER": "Dolby Vision", "DOVI_METADATA": "Dolby Vision"}
ALPHA_MODE = "alpha_mode"  # the tag for it; the writer sets it by the frames' layout
# Tags that say how this very file was written; the new one gets its own.
OWN_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "number_of_frames", ALPHA_MODE}
CHROMATICITY_UNITS, LUMINANCE_UNITS = 50_000, 10_000  # of HEVC's message: 1/50000, 1/10000 cd/m2
QUICKTIME = "com.apple.quicktime."  # tags that an MP4 holds only if told so
APPLE_HEVC = "hvc1"  # how HEVC must be marked for Apple's players; FFmpeg would mark it hev1
KEEPS_HDR10 = "libx265"  # the encoder that takes it as options
MISSING_SECONDS = 1.0  # a file that ends this much before its header says was cut off


@dataclasses.dataclass(frozen=True)
class Survey:
    """What must be known of a video before its first frame is restored."""

    frames: int
    time_base: Fraction  # seconds; the coarsest unit in which all time stamps are whole
    rate: Fraction  # frames a second, on average
    matrix: tuple[int, ...] | None  # FFmpeg's display matrix, if the video is to be shown turned or flipped
    height: int
    width: int
    mastering: bytes | None = None  # FFmpeg's AVMasteringDisplayMetadata: the display that HDR colours were made on
    light: bytes | None = None  # AVContentLightMetadata: the brightest pixel and frame
    pix_fmt: str = "yuv420p"  # FFmpeg's name of the frames' layout
    lost: tuple[str, ...] = ()  # what the result will be without, in words


def survey(path: Path, thorough: bool = False) -> Survey:
    """Read through a video, and if `thorough` decode all of it: that takes moments, to restore it takes hours.

    Raises UserError if it is damaged, cut off, interlaced, or of a kind that cannot be written again.
    """
    av = import_extra("av", "PyAV", "video")
    with _reading(av, path), av.open(str(path)) as container:
        stream = _video_stream(path, container)
        if stream.codec_context.name not in ENCODERS:
            raise UserError(f"{path}: {stream.codec_context.name} video cannot be written; convert it to H.264 first")
        decode = _decoder(av, stream)
        stamps, first, end = [], None, Fraction(0)
        for packet in container.demux(stream):
            if packet.size == 0:  # the end
                continue
            if thorough or first is None:
                for frame in decode(packet):
                    first = first or frame
                    _check_whole(path, frame)
            stamps.append(packet.pts)
            if packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * stream.time_base)
        for frame in decode(None):
            first = first or frame
            _check_whole(path, frame)
        if first is None:
            raise UserError(f"{path}: no picture in it; export or download it again")
        if not _is_writable(av, stream.codec_context.name, first.format.name):
            raise UserError(
                f"{path}: {stream.codec_context.name} video of {first.format.name} pixels cannot be written; "
                "convert it to yuv420p first"
            )
        if first.interlaced_frame:
            raise UserError(f"{path}: interlaced, and only whole frames can be restored; deinterlace it first")
        promised = Fraction(container.duration or 0, av.time_base)
        if SUFFIXES.get(path.suffix.lower()) not in ("matroska", "webm"):  # theirs counts from 0, late begin or not
            promised += Fraction(container.start_time or 0, av.time_base)
        if stream.duration:
            promised = ((stream.start_time or 0) + stream.duration) * stream.time_base
        elif any(other.type != "video" for other in container.streams):
            promised = Fraction(0)  # the longest stream may be the sound
        # AVI counts frames that it only repeats.
        missing = SUFFIXES.get(path.suffix.lower()) in ("mp4", "mov") and len(stamps) < stream.frames
        if missing or promised - end > MISSING_SECONDS:
            raise UserError(f"{path}: cut off after {float(end):.1f} s; copy or download it again")
        rate = stream.guessed_rate or stream.average_rate or Fraction(25)
        base = stream.time_base
        if None not in stamps:
            base *= math.gcd(*stamps) or 1
        facts = side_data(first, stream.codec_context)
        matrix = _display_matrix(facts)
        mastering, light = facts.get("MASTERING_DISPLAY_METADATA"), facts.get("CONTENT_LIGHT_LEVEL")
        lost = {name: None for kind, name in DYNAMIC_HDR.items() if kind in facts}
        if (mastering or light) and ENCODERS[stream.codec_context.name][0] != KEEPS_HDR10:
            lost["HDR10 metadata (mastering display, brightest pixel and frame)"] = None
        size = first.height, first.width
        return Survey(len(stamps), base, rate, matrix, *size, mastering, light, first.format.name, tuple(lost))


def restore_video(
    restore: Callable[[np.ndarray], np.ndarray],
    source: Path,
    result: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    replace: bool = True,
) -> tuple[str, ...]:
    """Restore every frame of a video into a file of the same container and codec, which appears whole or not at all.

    Returns what the result is without, in words.

    `restore` takes and gives H W 3 RGB, uint16; `progress(done, total)` counts frames. The result has the
    permissions and times of the source, and replaces an existing file if `replace`. Raises UserError that names the
    file: if it is damaged (see survey), or the result cannot be written.
    """
    av = import_extra("av", "PyAV", "video")
    if result.suffix.lower() not in SUFFIXES:
        raise UserError(f"{result}: unknown video format {result.suffix!r}; use one of {', '.join(SUFFIXES)}")
    found = survey(source, thorough=True)
    os.environ.setdefault("SVT_LOG", "0")  # the AV1 encoder would write about itself to stderr
    try:
        with (
            whole_file(result, replace=replace, attributes_of=source) as temporary,
            _reading(av, source),
            av.open(str(source)) as container,
        ):
            kind = SUFFIXES[result.suffix.lower()]
            quicktime = kind in ("mp4", "mov") and any(name.startswith(QUICKTIME) for name in container.metadata)
            options = {"movflags": "use_metadata_tags"} if quicktime else {}
            output = av.open(str(temporary), "w", format=kind, options=options)
            try:
                _transcode(av, container, output, found, restore, progress or (lambda done, total: None))
            finally:
                with _writing(av):
                    output.close()
    except _CannotWrite as error:
        remedy = "make room on the disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "see if the folder is fine"
        raise UserError(f"{result}: cannot be written ({error.strerror}); {remedy}") from error
    except NotReplaced as error:
        raise UserError(
            f"{result}: another program wrote it meanwhile, and it stays; restore into another folder"
        ) from error
    except OSError as error:
        raise UserError(f"{result}: cannot be written ({error.strerror or error}); check the folder") from error
    return found.lost


def _transcode(
    av: ModuleType,
    container: Any,
    output: Any,
    found: Survey,
    restore: Callable[[np.ndarray], np.ndarray],
    progress: Callable[[int, int], None],
) -> None:
    stream = _video_stream(Path(container.name), container)
    streams = {}  # index in the input -> stream of the output
    with _writing(av):
        output.metadata.update(_tags(container.metadata))
        for other in container.streams:
            if other is stream:
                streams[other.index] = encoder = _encoder(av, output, stream, found)
            elif other.type in ("video", "audio", "subtitle", "attachment"):
                streams[other.index] = _copy_of(output, other)
        if container.chapters():
            output.set_chapters(container.chapters())
    done, next_pts, decode = 0, 0, _decoder(av, stream)
    for packet in container.demux([other for other in container.streams if other.index in streams]):
        if packet.stream is not stream:
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                with _writing(av):
                    output.mux(packet)
            continue
        for frame in decode(packet):
            restored = _restored(av, frame, encoder.codec_context.pix_fmt, restore)
            frame.time_base = frame.time_base or stream.time_base
            pts = next_pts if frame.pts is None else round(frame.pts * frame.time_base / found.time_base)
            restored.pts, restored.time_base = pts, found.time_base
            restored.duration = round(frame.duration * frame.time_base / found.time_base)
            next_pts = pts + max(1, round(1 / (found.rate * found.time_base)))
            with _writing(av):
                output.mux(encoder.encode(restored))
            done += 1
            progress(done, max(done, found.frames))
    with _writing(av):
        output.mux(encoder.encode(None))


def _restored(av: ModuleType, frame: Any, pix_fmt: str, restore: Callable[[np.ndarray], np.ndarray]) -> Any:
    """The frame restored, as a frame of the same colours."""
    layout = "rgba64le" if any(part.is_alpha for part in frame.format.components) else "rgb48le"
    colours = {"interpolation": _interpolation(av), "src_colorspace": frame.colorspace}
    rgb = frame.reformat(format=layout, src_color_range=frame.color_range, **colours).to_ndarray()
    rgb[..., :3] = restore(np.ascontiguousarray(rgb[..., :3]))
    restored = av.VideoFrame.from_ndarray(rgb, layout).reformat(
        format=pix_fmt,
        interpolation=_interpolation(av),
        dst_colorspace=frame.colorspace,
        dst_color_range=frame.color_range,
    )
    for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
        setattr(restored, name, getattr(frame, name))
    return restored


def _interpolation(av: ModuleType) -> Any:
    kinds = av.video.reformatter.Interpolation
    return kinds.BICUBIC | kinds.ACCURATE_RND | kinds.FULL_CHR_H_INT | kinds.FULL_CHR_H_INP


def _encoder(av: ModuleType, output: Any, stream: Any, found: Survey) -> Any:
    decoder = stream.codec_context
    name, options = ENCODERS[decoder.name]
    if decoder.name in SEES_ALPHA and found.pix_fmt.startswith("yuva"):
        options = options | {"auto-alt-ref": "0"}  # which libvpx cannot have with transparency
    encoder = output.add_stream(
        name,
        rate=found.rate,
        options=_with_hdr(name, options, found),
        width=found.width,
        height=found.height,
        pix_fmt=found.pix_fmt,
        time_base=found.time_base,
    )
    context = encoder.codec_context
    context.flags |= av.codec.context.Flags.frame_duration  # or the last frame would stay for a guessed time
    context.thread_type = "AUTO"
    for field in ("color_range", "colorspace", "color_primaries", "color_trc"):
        setattr(context, field, getattr(decoder, field))
    if stream.sample_aspect_ratio:
        context.sample_aspect_ratio = stream.sample_aspect_ratio
    if decoder.codec_tag == APPLE_HEVC and output.format.name in ("mp4", "mov"):
        context.codec_tag = APPLE_HEVC
    encoder.time_base = found.time_base
    if found.matrix:
        encoder.set_display_matrix(found.matrix)
    encoder.metadata.update(_tags(stream.metadata))
    encoder.disposition = stream.disposition
    return encoder


def _with_hdr(name: str, options: dict[str, str], found: Survey) -> dict[str, str]:
    """The encoder's options with the static HDR10 metadata of the video, for HEVC."""
    if name != KEEPS_HDR10:
        return options
    extra = ["repeat-headers=1", "hdr10=1"] if found.mastering or found.light else []
    if found.mastering:
        numbers = np.frombuffer(found.mastering[:80], np.int32).reshape(10, 2).astype(float)
        values = numbers[:, 0] / numbers[:, 1].clip(1)
        colours = [round(value * CHROMATICITY_UNITS) for value in values[:8]]  # red, green, blue, white: x, y
        least, most = (round(value * LUMINANCE_UNITS) for value in values[8:])
        points = "".join(f"{n}({colours[i]},{colours[i + 1]})" for n, i in (("G", 2), ("B", 4), ("R", 0), ("WP", 6)))
        extra.append(f"master-display={points}L({most},{least})")
    if found.light:
        brightest, average = np.frombuffer(found.light[:8], np.uint32)
        extra.append(f"max-cll={brightest},{average}")
    return options | {"x265-params": ":".join((options["x265-params"], *extra))}


def _copy_of(output: Any, stream: Any) -> Any:
    if stream.type == "attachment":
        return output.add_attachment(stream.name or "attachment", stream.mimetype or "", stream.data)
    copy = output.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(_tags(stream.metadata))
    copy.disposition = stream.disposition
    return copy


def _tags(tags: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in tags.items() if name.lower() not in OWN_TAGS}


def _video_stream(path: Path, container: Any) -> Any:
    """The first that is not a cover picture."""
    for stream in container.streams.video:
        if not stream.disposition & type(stream.disposition).attached_pic:
            stream.thread_type = "AUTO"
            return stream
    raise UserError(f"{path}: no video in it; name a file that has one")


def _check_whole(path: Path, frame: Any) -> None:
    if frame.is_corrupt:
        raise UserError(f"{path}: damaged after {frame.time or 0:.1f} s; copy or download it again")


def _decoder(av: ModuleType, stream: Any) -> Callable[[Any], list[Any]]:
    """What makes frames of packets, and of None the last ones."""
    sees_alpha = SEES_ALPHA.get(stream.codec_context.name)
    modes = [text for name, text in stream.metadata.items() if name.lower() == ALPHA_MODE]
    if sees_alpha is None or "1" not in modes:
        return stream.decode
    context = av.codec.CodecContext.create(sees_alpha, "r")
    context.thread_type = "AUTO"
    return context.decode


def _is_writable(av: ModuleType, decoder: str, pix_fmt: str) -> bool:
    name, _ = ENCODERS[decoder]
    try:
        formats = av.codec.Codec(name, "w").video_formats
    except ValueError:  # FFmpeg was built without it
        return False
    return formats is None or pix_fmt in {each.name for each in formats}


def side_data(frame: Any, decoder: Any = None) -> dict[str, bytes]:
    """What comes with a frame beside its pixels: kind, as FFmpeg names it, -> bytes.

    `decoder`: that of the frame. FFmpeg 8 keeps there what the first frame's headers say of the light level.
    """
    of_all = {kind.name: bytes(data) for kind, data in (getattr(decoder, "decoded_side_data", None) or {}).items()}
    held = frame.side_data  # by number: PyAV iterates over the data before 19, over their kinds from then on
    return of_all | {held[number].type.name: bytes(held[number]) for number in range(len(held))}


def _display_matrix(facts: dict[str, bytes]) -> tuple[int, ...] | None:
    if matrix := facts.get("DISPLAYMATRIX"):
        return tuple(int(value) for value in np.frombuffer(matrix, np.int32))
    return None


class _CannotWrite(Exception):
    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.errno, self.strerror = getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)


@contextlib.contextmanager
def _writing(av: ModuleType) -> Iterator[None]:
    """Tells FFmpeg's errors about the result from those about the video that is read."""
    try:
        yield
    except (av.FFmpegError, ValueError) as error:
        raise _CannotWrite(error) from error


@contextlib.contextmanager
def _reading(av: ModuleType, path: Path) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise UserError(f"{path}: not a whole video ({error.strerror}); copy or download it again") from error
