"""One decoder: our pixels are Pillow's, turned, composited and scaled, or the file is refused with a true reason."""

import struct
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from PIL import __version__ as PILLOW

from lrfr.core.errors import REASONS, ImageFault
from lrfr.core.image import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    PICTURE_CODES,
    content_of,
    decode,
    encode_jpeg,
    is_plain_jpeg,
    jpeg_header,
    looks_like_picture,
    probe,
    read_picture,
    suffix_fits,
)
from lrfr.core.image import decoder as module
from lrfr.core.image.silence import mute_libtiff
from tests.core import odd_pictures as odd
from tests.corpus import main as compare
from tests.corpus import pillow_pixels
from tests.pairs.zoo import exif, picture, save

ODD = [*odd.pngs(), *odd.tiffs(), *odd.netpbms(), *odd.others()]


@pytest.mark.parametrize(("name", "data"), ODD, ids=[name for name, _ in ODD])
def test_pixels_are_pillows(name, data):
    if name == "TIFF YCbCr" and int(PILLOW.split(".")[0]) < 13:
        with pytest.raises(ImageFault, match="E_TRUNCATED"):
            read_picture(data)
        pytest.skip(f"Pillow {PILLOW} cannot read it, even where it wrote it itself")
    theirs = pillow_pixels(data)
    assert theirs.std() > 10, "the fixture shows nothing"
    ours = read_picture(data)
    assert ours.pixels.dtype == np.uint8 and ours.pixels.flags.c_contiguous and ours.pixels.flags.writeable
    assert np.abs(ours.pixels.astype(int) - theirs).max() <= 1
    assert probe(data)[0] == ours.kind and sorted(probe(data)[1:]) == sorted(theirs.shape[:2])


@pytest.mark.parametrize("maxval", [1023, 4095])
def test_a_12_bit_pgm_is_not_nearly_black(maxval):
    data = dict(odd.netpbms())[f"PGM of maxval {maxval}"]
    assert np.abs(decode(data)[..., 0].astype(int) - np.asarray(odd.GRAY)).max() <= 1


def test_a_12_bit_tiff_is_not_nearly_black():
    assert (
        np.abs(decode(dict(odd.tiffs())["12-bit TIFF"])[..., 0].astype(int) - np.asarray(odd.GRAY)).max() <= 1
    )


TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", [name for name, _ in odd.turned(1)])
def test_every_way_to_state_an_orientation_turns_the_picture(orientation, name):
    flat, data = dict(odd.turned(1))[name], dict(odd.turned(orientation))[name]
    read = read_picture(data)
    np.testing.assert_array_equal(read.pixels, TURNS[orientation](decode(flat)))
    assert ("W_ROTATED" in read.remarks) == (orientation > 1)
    assert np.abs(read.pixels.astype(int) - pillow_pixels(data)).max() <= 1


@pytest.mark.parametrize("value", [0, 9, 6000])
def test_an_orientation_that_is_none_turns_nothing(value):
    data = save(odd.RGB, "JPEG", exif=exif(value))
    assert read_picture(data).remarks == () and decode(data).shape == (24, 32, 3)


def test_heic_is_read_where_its_package_is_and_named_where_not(monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    for orientation in (1, 6):
        data = save(odd.RGB, "HEIF", quality=-1, exif=exif(orientation))
        read = read_picture(data, "a.heic")
        assert np.abs(read.pixels.astype(int) - pillow_pixels(data)).max() <= 1 and read.kind == "HEIF"
        assert read.pixels.shape[:2] == ((24, 32) if orientation == 1 else (32, 24))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageFault, match=r"E_CODEC.*pillow-heif"):
        decode(data)


@pytest.mark.parametrize(("name", "data"), list(odd.animated()))
def test_the_first_of_several_is_used_and_said(name, data):
    read = read_picture(data)
    assert read.remarks == ("W_ANIMATED",)
    np.testing.assert_array_equal(read.pixels, pillow_pixels(data))


def test_remarks_speak_of_what_was_done():
    opaque = odd.RGB.convert("RGBA")
    assert read_picture(save(opaque, "PNG")).remarks == ()
    assert read_picture(save(odd.CLEAR, "PNG"), "a.jpg").remarks == ("W_ALPHA", "W_SUFFIX")
    profile = save(odd.RGB, "JPEG", icc_profile=b"a profile")
    assert read_picture(profile + b"tail").remarks == ("W_PROFILE", "W_TRAILING")
    assert read_picture(save(odd.RGB, "TIFF", icc_profile=b"a profile"), "a.tif").remarks == ("W_PROFILE",)


REFUSED = {
    "float TIFF": (save(Image.fromarray(np.zeros((24, 32), np.float32)), "TIFF"), "E_SAMPLES", "float"),
    "LAB TIFF": (save(odd.RGB.convert("LAB"), "TIFF"), "E_SAMPLES", "LAB"),
    "32-bit TIFF": (save(Image.fromarray(np.zeros((24, 32), np.int32)), "TIFF"), "E_SAMPLES", "32-bit"),
    "14-bit TIFF": (odd.tiff(odd.tiff_fields((14,), 1), [bytes(1344)]), "E_SAMPLES", "14-bit samples, gray"),
    "12-bit RGB TIFF": (
        odd.tiff(odd.tiff_fields((12,) * 3, 2), [bytes(3456)]),
        "E_SAMPLES",
        "12-bit samples, RGB",
    ),
    "16-bit TIFF, white is zero": (
        odd.tiff(odd.tiff_fields((16,), 0), [bytes(1536)]),
        "E_SAMPLES",
        "white is zero",
    ),
    "seven channels": (odd.tiff(odd.tiff_fields((8,) * 7, 1), [bytes(5376)]), "E_SAMPLES", "7 samples"),
    "camera raw": (
        odd.tiff(odd.tiff_fields((8,) * 3, 2, subfile=1), [bytes(2304)]),
        "E_FORMAT",
        "camera raw",
    ),
    "DNG": (odd.tiff(odd.tiff_fields((8,) * 3, 2, dng=1), [bytes(2304)]), "E_FORMAT", "camera raw"),
    "WebP in TIFF": (
        odd.tiff(odd.tiff_fields((8,) * 3, 2, compression=50001), [bytes(99)]),
        "E_CODEC",
        "WebP",
    ),
    "JPEG-LS": (
        b"\xff\xd8\xff\xf7\0\x0b\x08\0\x18\0\x20\1\1\x11\0\xff\xda\0\2\xff\xd9",
        "E_FORMAT",
        "JPEG-LS",
    ),
    "PFM": (b"Pf\n32 24\n-1.0\n" + bytes(3072), "E_FORMAT", "PFM"),
    "PAM": (b"P7\nWIDTH 32\nHEIGHT 24\n", "E_FORMAT", "PAM"),
    "HTML": (b"\n<!-- saved -->\n<!DOCTYPE html>\n<html>", "E_FORMAT", "a web page"),
    "SVG": (
        b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="http://www.w3.org/2000/svg">',
        "E_FORMAT",
        "SVG",
    ),
    "PDF": (b"%PDF-1.7\n", "E_FORMAT", "PDF"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "E_FORMAT", "EPS"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(60), "E_FORMAT", "gzip"),
    "video": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "E_FORMAT", "video"),
    "Matroska": (b"\x1a\x45\xdf\xa3" + bytes(60), "E_FORMAT", "video"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "E_FORMAT", "Git LFS"),
    "text": (b"a note, not a picture\n" * 9, "E_FORMAT", "text"),
    "zeros": (bytes(4096), "E_FORMAT", "zero bytes"),
    "nothing": (b"", "E_EMPTY", ""),
    "CgBI": (
        save(odd.RGB, "PNG")[:8] + odd.chunk(b"CgBI", b"\x50\0\x20\2") + save(odd.RGB, "PNG")[8:],
        "E_FORMAT",
        "Apple",
    ),
    "JPEG without end": (save(odd.RGB, "JPEG")[:-2], "E_TRUNCATED", "does not end"),
    "wrong checksum": (
        save(odd.RGB, "PNG")[:-20] + b"\0\0\0\0" + save(odd.RGB, "PNG")[-16:],
        "E_TRUNCATED",
        "checksum",
    ),
    "a zero-maxval PGM": (b"P5 32 24 0\n" + bytes(768), "E_FORMAT", "maxval 0"),
    "a short PGM": (b"P5 32 24 255\n" + bytes(700), "E_TRUNCATED", "700 bytes of 768"),
    "letters in a text PGM": (b"P2 32 24 255\n" + b"x " * 768, "E_TRUNCATED", "no numbers"),
    "a JPEG XL without plug-in": (b"\xff\x0a" + bytes(40), "E_CODEC|E_TRUNCATED", "JPEG XL|header"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_true_reason(name):
    data, codes, detail = REFUSED[name]
    with pytest.raises(ImageFault) as caught:
        decode(data)
    assert caught.value.code in codes.split("|")
    assert any(part in caught.value.detail for part in detail.split("|"))
    assert caught.value.code in PICTURE_CODES and set(PICTURE_CODES) <= set(REASONS)


def jpeg_of_scans(count):
    data = save(odd.RGB.resize((256, 256)), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:-2] + data[start:-2] * count + b"\xff\xd9"


def claims(entries=4000):
    """An EXIF block whose entries each claim all of it."""
    table = b"".join(struct.pack("<HHII", 1000 + index, 7, 60_000, 8) for index in range(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + table + bytes(4)


def pages(count):
    """A TIFF followed by a chain of directories."""
    data = bytearray(odd.tiff(odd.tiff_fields((8,), 1), [np.asarray(odd.GRAY).tobytes()]))
    place = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, place)[0]
    struct.pack_into("<I", data, place + 2 + 12 * entries, len(data))
    for _ in range(count):
        data += struct.pack("<HHHIII", 1, 256, 3, 1, 1, len(data) + 18)
    return bytes(data)


def gif_of_comments(count):
    data = save(odd.RGB.quantize(16), "GIF")
    place = 13 + (3 << ((data[10] & 7) + 1))
    return data[:place] + b"!\xfe\1x\0" * count + data[place:]


def png_of_text(size):
    data = save(odd.RGB, "PNG")
    bomb = odd.chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(size), 9))
    return data[:33] + bomb * 50 + data[33:]


# each would take gigabytes, or minutes, in a reader that trusts what it is told
BOMBS = {
    "scans": (lambda: jpeg_of_scans(3000), "E_BOMB"),
    "EXIF in JPEG": (lambda: save(odd.RGB, "JPEG", exif=b"Exif\0\0" + claims()), None),
    "EXIF in PNG": (lambda: save(odd.RGB, "PNG", exif=b"Exif\0\0" + claims()), None),
    "EXIF in AVIF": (lambda: save(odd.RGB, "AVIF")[:-4] + claims(), "E_BOMB"),
    "pages": (lambda: pages(500_000), None),
    "comments in PPM": (lambda: b"P6\n" + b"# x\n" * 2_500_000 + b"32 24 255\n" + bytes(2304), "E_TRUNCATED"),
    "comments in GIF": (lambda: gif_of_comments(50_000), None),
    "more comments in GIF": (lambda: gif_of_comments(2_000_000), "E_TRUNCATED"),
    "text in PNG": (lambda: png_of_text(30_000_000), None),
    "entries in TIFF": (
        lambda: odd.tiff(odd.tiff_fields((8,), 1) | {320: (4, (0,) * 250_000)}, [bytes(768)]),
        "E_BOMB",
    ),
    "far away TIFF": (lambda: b"II+\0\x08\0\0\0" + b"\xff" * 64, "E_TRUNCATED"),
    "text PGM": (lambda: b"P2 8000 8000 255\n" + b"1 " * 20, "E_TRUNCATED"),
    "QOI": (lambda: b"qoif" + struct.pack(">IIBB", 3000, 3000, 3, 0) + bytes(64), "E_BOMB"),
    "icon": (
        lambda: (
            b"\0\0\1\0\1\0\0\0\0\0\1\0\x20\0"
            + struct.pack("<II", 999, 22)
            + odd.png(np.zeros((4, 9000), np.uint8), 8, 0)
        ),
        "E_BOMB",
    ),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", BOMBS)
def test_nothing_stalls(name):
    make, code = BOMBS[name]
    if code is None:
        assert decode(make()).shape == (24, 32, 3)
        return
    with pytest.raises(ImageFault) as caught:
        decode(make())
    assert caught.value.code == code


def damaged():
    """JPEG, PNG and TIFF files with a few wrong bytes within."""
    rng = np.random.default_rng(5)
    for index in range(150):
        kind, options = [("JPEG", {}), ("PNG", {}), ("TIFF", {"compression": "tiff_lzw"})][index % 3]
        data = bytearray(save(picture(index), kind, **options))
        for place in rng.integers(len(data) // 2, len(data) - 8, 3):
            data[place] = rng.integers(256)
        yield bytes(data)


def ends_of_damaged():
    ends = []
    for data in damaged():
        try:
            ends.append(decode(data).tobytes())
        except ImageFault as fault:
            ends.append(fault.code)
    return ends


@pytest.mark.parametrize("threads", [0, 2])
def test_no_library_writes_of_damage_to_standard_error(capfd, threads):
    """Also beside other threads, whoever started them, and with the same outcomes."""
    alone = ends_of_damaged()
    with ThreadPoolExecutor(threads or 1) as pool:
        found = [pool.submit(ends_of_damaged) for _ in range(threads)]
        assert [one.result() for one in found] == [alone] * threads
    assert {"E_TRUNCATED"} < set(alone)
    print("still here", file=sys.stderr)
    assert capfd.readouterr().err == "still here\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Pillow has no libtiff of its own there")
def test_libtiff_of_this_pillow_is_found():
    assert mute_libtiff()


def test_a_closed_standard_error_is_no_trouble(tmp_path):
    (tmp_path / "a.jpg").write_bytes(save(odd.RGB, "JPEG"))
    code = (
        "import sys; from lrfr.core.image import decode; print(decode(open(sys.argv[1],'rb').read()).shape)"
    )
    shell = f'exec {sys.executable} -c "{code}" {tmp_path / "a.jpg"} 2>&-'
    assert subprocess.run(["sh", "-c", shell], capture_output=True, check=True).stdout == b"(24, 32, 3)\n"


def mutated(count):
    rng = np.random.default_rng(7)
    files = [encode_jpeg(picture(1), 90), save(picture(2), "JPEG", progressive=True), save(odd.GRAY, "JPEG")]
    for index in range(count):
        data = bytearray(files[index % len(files)])
        for place in rng.integers(0, len(data), rng.choice([1, 2, 8])):
            if rng.random() < 0.5:
                data[place] = rng.integers(256)
            else:
                data[place:place] = rng.bytes(3)
        yield bytes(data)


def end(data):
    try:
        return decode(data).tobytes()
    except ImageFault as fault:
        return fault.code


def test_both_codecs_of_jpeg_give_the_same_end(monkeypatch):
    """OpenCV decodes plain ones where it cannot disturb, Pillow the others: no one can tell which it was."""
    here = [end(data) for data in mutated(400)]
    monkeypatch.setattr(module, "decode_plain", lambda _: None)
    assert here == [end(data) for data in mutated(400)]
    assert len(set(here)) > 100


def test_other_threads_get_the_same_pixels():
    data, found = save(picture(3), "JPEG"), []
    threads = [threading.Thread(target=lambda: found.append(decode(data))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(pixels, decode(data)) for pixels in found) and len(found) == 3


def test_what_a_store_keeps_is_plain():
    rgb = Image.fromarray(picture())
    assert is_plain_jpeg(save(rgb, "JPEG"), 64) and is_plain_jpeg(
        save(rgb.convert("L"), "JPEG", exif=exif(1)), 64
    )
    for data in (
        save(rgb, "JPEG", exif=exif(6)),
        save(rgb, "JPEG", xmp=odd.XMP % 3),
        save(rgb.convert("CMYK"), "JPEG"),
        save(rgb, "PNG"),
        save(rgb, "JPEG")[:-2],
        b"\xff\xd8",
    ):
        assert not is_plain_jpeg(data, 64)
    assert not is_plain_jpeg(save(rgb, "JPEG"), 32)


def test_suffixes_and_content():
    for (
        suffix
    ) in ".jfif .jpe .pnm .pbm .avif .heic .heif .jp2 .j2k .jxl .tif .qoi .webp .cr2 .svg .exr".split():
        assert suffix in IMAGE_SUFFIXES
    assert not IMAGE_SUFFIXES & {".txt", ".json", ".pdf", ".mp4", ".npy", ".rec", ".tar", ".bin", ".csv"}
    for _, data in ODD:
        content = content_of(data[:HEAD_BYTES])
        assert looks_like_picture(data[:HEAD_BYTES]) and content.kind == probe(data)[0]
        assert suffix_fits(
            content.kind,
            "a." + {"JPEG": "jpg", "PPM": "pgm", "JPEG2000": "jp2"}.get(content.kind, content.kind),
        )
    for name in ("PDF", "HTML", "gzip", "video", "LFS pointer", "text", "zeros"):
        assert not looks_like_picture(REFUSED[name][0])
    for name in ("PFM", "SVG", "EPS", "a JPEG XL without plug-in", "camera raw"):
        assert looks_like_picture(REFUSED[name][0])
    assert not suffix_fits("PNG", "a.jpg") and suffix_fits("PNG", "a.dat") and suffix_fits("PNG", "a.PNG")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "head", [b"<!---->" * 200, b"<!--" * 300, b" " * 2000, b"<?xml" + b">" * 900, b"#define " * 200]
)
def test_telling_content_takes_no_time(head):
    content_of(head)


def test_the_comparison_prints_a_table_and_fails_where_pixels_differ(tmp_path, capsys, monkeypatch):
    for index, (_, data) in enumerate([*odd.netpbms(), ("", b"")]):
        (tmp_path / "netpbm").mkdir(exist_ok=True)
        (tmp_path / "netpbm" / f"{index}.pgm").write_bytes(data)
    assert compare([tmp_path]) == 0
    assert "| netpbm | 17 | 16 (max 1) | E_EMPTY 1 | 0 | 0 |" in capsys.readouterr().out
    monkeypatch.setattr("tests.corpus.pillow_pixels", lambda data: np.zeros((24, 32, 3), np.uint8))
    assert compare([tmp_path]) == 1
    assert "differs:" in capsys.readouterr().out


def spoiled(data, rng):
    """A JPEG's bytes with some of its header changed, cut or moved."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(2, min(len(data), 700)))
        match rng.integers(4):
            case 0:
                data[at] = int(rng.integers(256))
            case 1:
                data[at:at] = bytes(rng.choice([0, 0xDA, 0xFE, 0xFF], rng.integers(1, 6)).tolist())
            case 2:
                del data[at : at + int(rng.integers(1, 9))]
            case 3:
                data[at : at + 2] = bytes([0xFF, int(rng.choice([0xC0, 0xC4, 0xDA, 0xD9, 0xE0, 0xE1, 0xFE]))])
    return bytes(data)


def test_a_header_that_is_remembered_says_what_is_read():
    rng = np.random.default_rng(0)

    def told(read, data):
        try:
            return read(data)
        except ImageFault as fault:
            return fault.code, fault.detail

    some = [encode_jpeg(picture(number), quality) for number in range(3) for quality in (50, 95)]
    some += [save(picture(0), "JPEG", progressive=True), save(picture(1), "JPEG", exif=exif(6)), some[0][:-2]]
    whole = [*some, *(spoiled(data, rng) for data in some for _ in range(200))]
    for data in [*whole, *(data[: len(data) // 2] for data in whole), *whole]:
        assert told(jpeg_header.read_jpeg_header, data) == told(jpeg_header._read_header, data)
    assert jpeg_header._remembered_head.cache_info().hits
