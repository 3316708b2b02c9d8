"""Which files are image files, and the conversion of their pixels."""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from nasrun.datasets import DatasetError
from nasrun.datasets.image_files import (
    SUFFIXES,
    CorruptImageError,
    DeepImageError,
    HugeImageError,
    ImageReader,
    find_images,
)
from tests.picture_files import fill, picture, write_png16

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_resize_keeps_or_changes_proportions(tmp_path: Path, resize: str) -> None:
    """A picture twice as wide as high: left half black-free red, right half blue."""
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:, :20, 0] = pixels[:, 20:, 2] = 200
    Image.fromarray(pixels).save(tmp_path / "0.png")
    image = ImageReader(3, 16, 16, resize).read(tmp_path / "0.png").astype(int)
    assert image.shape == (3, 16, 16)
    assert image[0, 8, 2] > 190  # red on the left
    assert image[2, 8, 13] > 190  # blue on the right
    if resize == "pad":
        assert image[:, 1].max() == image[:, 14].max() == 0
    else:
        assert image[0, 0, 2] > 190


@pytest.mark.parametrize("size", [(3000, 1), (1, 1), (1, 500)])
def test_skinny_and_tiny_pictures_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (9, 99, 199)).save(tmp_path / "s.png")
    for resize in ("crop", "stretch"):
        image = ImageReader(3, 8, 8, resize).read(tmp_path / "s.png")
        assert (image == np.array([9, 99, 199])[:, None, None]).all()


def test_other_sizes_of_channels_and_modes(tmp_path: Path) -> None:
    grey, colour = (ImageReader(channels, 2, 3) for channels in (1, 3))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"):
        source = Image.new("RGB", (3, 2), (255, 255, 255))
        if mode == "LAB":
            source = Image.new("LAB", (3, 2), (255, 128, 128))
        else:
            source = source.convert(mode.replace("LA", "L")).convert(mode)
        path = tmp_path / f"{mode}{'.tif' if mode in ('CMYK', 'YCbCr', 'LAB') else '.png'}"
        source.save(path)
        for reader, channels in ((grey, 1), (colour, 3)):
            image = reader.read(path)
            assert image.shape == (channels, 2, 3)
            assert image.min() >= 254, mode


def test_a_photograph_is_turned_as_the_camera_noted(tmp_path: Path) -> None:
    turned = Image.new("L", (4, 2))
    turned.putpixel((0, 0), 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    reader = ImageReader(1, 4, 2)
    assert reader.read(tmp_path / "turned.png")[0].argmax() == 1
    found = reader.decode(tmp_path / "turned.png")
    assert (found.width, found.height) == (2, 4)


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix not in (".heic", ".heif", ".hif")])
def test_every_ending_is_read(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    kinds = {".jfif": "JPEG", ".pgm": "PPM", ".pbm": "PPM", ".hif": "HEIF", ".apng": "PNG"}
    grey = suffix in (".pgm", ".pbm")
    source = picture(1, RNG).convert("1" if suffix == ".pbm" else "L" if grey else "RGB")
    source.save(tmp_path / f"0{suffix.upper()}", format=kinds.get(suffix))
    assert find_images(tmp_path) == ([tmp_path / f"0{suffix.upper()}"], {})
    image = ImageReader(3, 20, 20).read(tmp_path / f"0{suffix.upper()}").mean(axis=(1, 2))
    assert grey or image[1] > 100 > image[0]


@pytest.mark.parametrize("suffix", [".heic", ".heif", ".hif"])
def test_heic_is_read_with_its_package_and_counted_without(tmp_path: Path, suffix: str) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    picture(1, RNG).save(tmp_path / f"0{suffix}", format="HEIF")
    assert find_images(tmp_path) == ([tmp_path / f"0{suffix}"], {})
    image = ImageReader(3, 20, 20).read(tmp_path / f"0{suffix}").mean(axis=(1, 2))
    assert image[1] > 100 > image[0]


def without(*modules: str, code: str) -> str:
    """What a program prints in which some modules cannot be imported."""
    gone = f"import sys; sys.modules |= dict.fromkeys({modules!r})\n"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", gone + code], cwd=root, capture_output=True, text=True)
    return done.stdout + (done.stderr.splitlines() or [""])[-1]


def test_kinds_that_need_another_package_are_counted_with_its_name(tmp_path: Path) -> None:
    fill(tmp_path, 1, ("a",))
    (tmp_path / "a" / "1.HEIC").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    (tmp_path / "a" / "2.avif").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    head = "from pathlib import Path; from nasrun.datasets.image_files import ImageReader, find_images\n"
    code = f"import PIL.features; PIL.features.check = lambda name: False\n{head}"
    code += f"found, passed = find_images(Path({str(tmp_path)!r})); print(len(found), sorted(passed.items()))"
    passed_over = [(".avif (Pillow 11.3 or later reads it: pip install -U pillow)", 1)]
    passed_over += [(".heic (pip install pillow-heif)", 1)]
    assert without("pillow_heif", code=code) == f"1 {passed_over}\n"
    (tmp_path / "a" / "1.HEIC").write_bytes(b"ftypheic")
    code = f"{head}ImageReader(3, 8, 8).read(Path({str(tmp_path / 'a' / '1.HEIC')!r}))"
    assert "1.HEIC: cannot be read as an image (pip install pillow-heif)" in without("pillow_heif", code=code)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_per_channel_are_refused_whatever_the_colours(tmp_path: Path, channels: int) -> None:
    """A camera's 12 bits in 16: their upper 8 bits, which Pillow gives of colours, are from 0 to 15."""
    write_png16(tmp_path / "deep.png", RNG.integers(0, 4096, (20, 20, channels)))
    for wanted in (1, 3):
        with pytest.raises(DeepImageError, match=r"deep\.png: 16 bits per channel; save it with 8.*mogrify") as error:
            ImageReader(wanted, 20, 20).read(tmp_path / "deep.png")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("bits", "values"),
    [
        (16, np.full((4, 4), 4000, dtype=np.uint16)),
        (16, np.full((4, 4, 3), 4000, dtype=np.uint16)),
        (32, np.full((4, 4), 0.5, dtype=np.float32)),
        (32, np.full((4, 4), 70_000, dtype=np.int32)),
    ],
)
def test_deep_tiffs_are_refused_too(tmp_path: Path, bits: int, values: np.ndarray) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "deep.tif", values, photometric="rgb" if values.ndim == 3 else "minisblack")
    with pytest.raises(DeepImageError, match=rf"deep\.tif: {bits} bits per channel"):
        ImageReader(3, 4, 4).read(tmp_path / "deep.tif")


def test_a_ppm_says_its_largest_value_and_is_scaled_by_it(tmp_path: Path) -> None:
    values = np.array([[[0, 2048, 4095]]], dtype=">u2")
    (tmp_path / "deep.ppm").write_bytes(b"P6 1 1 4095\n" + values.tobytes())
    assert ImageReader(3, 1, 1).read(tmp_path / "deep.ppm").ravel().tolist() == [0, 128, 255]


def test_bits_below_8_are_scaled(tmp_path: Path) -> None:
    source = Image.new("P", (2, 1))
    source.putpalette([0, 0, 0, 255, 255, 255])
    source.putpixel((1, 0), 1)
    source.save(tmp_path / "two.png", bits=1)
    assert ImageReader(1, 1, 2).read(tmp_path / "two.png").ravel().tolist() == [0, 255]


def test_what_is_dropped_is_counted(tmp_path: Path) -> None:
    """Frames after the first, and transparency where anything is transparent."""
    frames = [Image.new("P", (4, 4), number) for number in range(3)]
    frames[0].putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    for frame in frames[1:]:
        frame.putpalette(frames[0].getpalette())
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "still.gif")
    frames[0].convert("RGB").save(tmp_path / "pages.tif", save_all=True, append_images=[frames[1].convert("RGB")])
    Image.new("RGBA", (4, 4), (1, 2, 3, 255)).save(tmp_path / "opaque.png")
    Image.new("RGBA", (4, 4), (1, 2, 3, 0)).save(tmp_path / "glass.png")
    frames[0].save(tmp_path / "holes.png", transparency=bytes(range(256)))
    reader = ImageReader(3, 4, 4)
    lost: list[tuple[bool, bool]] = []
    for path in sorted(tmp_path.iterdir()):
        image = reader.read(path)
        found = reader.decode(path)
        lost.append((found.frames, found.transparent))
        assert (image == found.pixels).all()
        expected = (1, 2, 3) if path.stem in ("opaque", "glass") else (10, 20, 30)
        assert (image == np.array(expected)[:, None, None]).all(), path
    assert [sum(kinds) for kinds in zip(*lost, strict=True)] == [2, 2]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".gif", ".tif"])
def test_files_that_are_cut_short_or_fake_are_corrupt(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bad{suffix}"
    picture(0, RNG, (200, 200)).save(path)
    whole = path.read_bytes()
    for content in (b"", b"no image", b"<html>404</html>", whole[:100], whole[: len(whole) // 2], whole[:-2000]):
        path.write_bytes(content)
        with pytest.raises(
            CorruptImageError, match=rf"^{path}: cannot be read as an image \(.+\); replace or delete it"
        ):
            ImageReader(3, 8, 8).read(path)


def test_a_picture_of_120_megapixels_is_shrunk_by_the_command_that_is_given(tmp_path: Path) -> None:
    path = tmp_path / "a 'large' one.png"
    Image.new("L", (12_000, 10_000), 77).save(path)
    with pytest.raises(HugeImageError, match="more than 89 megapixels; move it away, or shrink it in place: ") as error:
        ImageReader(1, 8, 8).read(path)
    assert "\n" not in str(error.value)
    command = shlex.split(error.value.remedy.split("in place: ")[1])
    subprocess.run([sys.executable, *command[1:]], check=True)
    with Image.open(path) as shrunk:
        assert shrunk.size == (4096, 3413)
    assert (ImageReader(1, 8, 8).read(path) == 77).all()


def test_files_are_found_at_any_depth_in_sorted_order(tmp_path: Path) -> None:
    fill(tmp_path, 2, ("a", "b/c", "b/.d", ".e"))
    fill(tmp_path / "b", 1, ("x.png",))
    for name in ("a/notes.txt", "a/._0.png", "b/Thumbs.db", "b/c/README", "1.PNG"):
        (tmp_path / name).write_bytes((tmp_path / "a" / "0.png").read_bytes())
    found, passed_over = find_images(tmp_path)
    names = ["1.PNG", "a/0.png", "a/1.png", "b/c/0.png", "b/c/1.png", "b/x.png/0.png"]
    assert [str(path.relative_to(tmp_path)) for path in found] == names
    assert passed_over == {"hidden": 3, ".txt": 1, ".db": 1, "without an ending": 1}


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", 2, ("x",))
    fill(tmp_path / "data", 1, ("a",))
    (tmp_path / "data" / "a" / "back").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    found, passed_over = find_images(tmp_path / "data")
    assert [path.name for path in found] == ["0.png", "0.png", "1.png"]
    assert passed_over == {}


def test_folders_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone: cannot be read \(No such file or directory\)"):
        find_images(tmp_path / "gone")
