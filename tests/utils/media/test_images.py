"""No path leads out of the allowed folders, and no image is decoded that should not be."""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO

import pytest
from media_sets import picture

from utils.media.images import ImageFolders, decode_image, open_image, read_image
from utils.media.problems import MediaError


@pytest.fixture
def folders(tmp_path):
    """A data set with one image, and a secret outside it."""
    (tmp_path / "set" / "images" / "sub").mkdir(parents=True)
    (tmp_path / "set" / "images" / "sub" / "1.png").write_bytes(picture(1))
    (tmp_path / "set" / "2.png").write_bytes(picture(2))
    (tmp_path / "secret.png").write_bytes(picture(3))
    return ImageFolders(tmp_path / "set")


def reason(call, *arguments):
    with pytest.raises(MediaError) as caught:
        call(*arguments)
    return caught.value.problem.reason


def test_paths_within(folders, tmp_path):
    assert folders.find("sub/1.png") == tmp_path / "set/images/sub/1.png"
    assert folders.find("2.png") == tmp_path / "set/2.png"  # images/ first, then the folder itself
    assert folders.find("sub/../../2.png") == tmp_path / "set/2.png"
    assert folders.find(str(tmp_path / "set/2.png")) == tmp_path / "set/2.png"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../secret.png", "outside the data set's folder and that of --images"),
        ("/etc/passwd", "outside the data set's folder and that of --images"),
        ("link.png", "outside the data set's folder and that of --images"),
        ("linked/secret.png", "outside the data set's folder and that of --images"),
        ("../../not there.png", "outside the data set's folder and that of --images"),
        ("nothing.png", "file not there"),
        ("", "no image named"),
        (" ", "no image named"),
        ("http://example.org/x.jpg", "an address; nothing is downloaded"),
        ("HTTPS://example.org/x.jpg", "an address; nothing is downloaded"),
        ("a\0b.png", "file not readable"),
    ],
)
def test_paths_that_are_not_followed(folders, tmp_path, name, expected):
    (tmp_path / "set/images/link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "set/images/linked").symlink_to(tmp_path)
    assert reason(folders.find, name) == expected


def test_a_ring_of_links_and_too_long_a_name_are_problems_like_any(folders, tmp_path):
    (tmp_path / "set/images/ring.png").symlink_to(tmp_path / "set/images/ring.png")
    assert reason(lambda: read_image(folders.find("ring.png"))) in ("file not readable", "file not there")
    assert reason(lambda: read_image(folders.find("x" * 5000))) in ("file not readable", "file not there")


def test_the_folder_given_is_allowed_and_relative_paths_count_from_it(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(picture(1))
    folders = ImageFolders(tmp_path / "set", tmp_path / "pictures")
    assert (
        folders.find("1.png") == folders.find(str(tmp_path / "pictures/1.png")) == tmp_path / "pictures/1.png"
    )
    assert reason(folders.find, "../secret.png") == "outside the data set's folder and that of --images"


def test_a_link_in_the_data_set_leads_nowhere_unless_the_command_line_says_so(tmp_path):
    """It may have come out of an archive."""
    for name in ("set", "pictures"):
        (tmp_path / name).mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(picture(1))
    (tmp_path / "set" / "images").symlink_to(tmp_path / "pictures")
    assert (
        reason(ImageFolders(tmp_path / "set").find, "1.png")
        == "outside the data set's folder and that of --images"
    )
    given = ImageFolders(tmp_path / "set", tmp_path / "set" / "images")
    assert given.find("1.png") == tmp_path / "pictures/1.png"


def test_what_is_no_file(folders, tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "set/images/pipe.png")
    assert (
        reason(read_image, tmp_path / "set/images/pipe.png") == "no regular file"
    )  # and does not wait for it
    assert reason(read_image, tmp_path / "set/images/sub") == "no regular file"
    monkeypatch.setattr("utils.media.images.MOST_BYTES", 10)
    assert reason(read_image, tmp_path / "set/2.png") == "too large"


def test_a_link_put_there_after_the_check_is_not_followed(tmp_path):
    (tmp_path / "file.png").write_bytes(picture(1))
    (tmp_path / "link.png").symlink_to(tmp_path / "file.png")
    assert reason(read_image, tmp_path / "link.png") == "file not readable"


def test_a_known_file_is_not_read_again(tmp_path):
    path = tmp_path / "1.png"
    path.write_bytes(picture(1))
    stamp, content = read_image(path)
    assert content == picture(1)
    assert read_image(path, stamp) == (stamp, None)
    path.write_bytes(picture(2))
    assert read_image(path, stamp)[1] == picture(2)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_formats(form):
    image = decode_image(picture(1, form))
    assert image.mode == "RGB" and image.size == (24, 20)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "1", "CMYK", "I;16"])
def test_modes(mode):
    assert decode_image(picture(1, "TIFF" if mode == "CMYK" else "PNG", mode=mode)).mode == "RGB"


def test_what_is_transparent_is_white():
    from PIL import Image

    file = BytesIO()
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(file, "PNG")
    assert decode_image(file.getvalue()).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404</html>", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x89PNG\r\n\x1a\n"],
)
def test_what_is_no_image(content):
    assert reason(open_image, content) == "broken image"


def test_a_bomb_is_refused_before_it_is_unpacked():
    """60,000 x 60,000 pixels in a hundred bytes."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")
    assert reason(open_image, content) == reason(decode_image, content) == "too large"


def test_a_truncated_image_shows_when_it_is_decoded():
    content = picture(1, "JPEG", (200, 200))[:-3000]
    open_image(content)
    assert reason(decode_image, content) == "broken image"


@pytest.mark.parametrize("limit", [100, 300])  # Pillow raises from twice its limit on, and only warns before
def test_pillows_limit_on_pixels_holds(monkeypatch, limit):
    from PIL import Image

    assert Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setattr("warnings.warn", lambda *args, **kwargs: None)
    assert reason(open_image, picture(1)) == "too large"
