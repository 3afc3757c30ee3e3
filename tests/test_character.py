"""The character stage as a user drives it: pictures in, a character folder or a clear message out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from mimo import weights
from mimo.character import Character
from mimo.stage import Rejected
from mimo.video import VideoReader
from video_decomp.character.__main__ import main
from video_decomp.character.picture import read_picture

NEEDED = [
    "pose2sim-cam02",
    "anny-body",
    "blazepose-detector",
    "blazepose-landmarks-full",
    "blazepose-landmarks-heavy",
]


@pytest.fixture(scope="session")
def man() -> np.ndarray:
    """A man from head to feet, 1080x1920, with a smaller woman behind him."""
    weights.fetch(NEEDED)
    return VideoReader(weights.path("pose2sim-cam02")).frame(84)


@pytest.fixture(scope="session")
def character(man, tmp_path_factory) -> Path:
    """The character folder of a phone picture: pixels lying on their side, upright by the orientation tag."""
    folder = tmp_path_factory.mktemp("character")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(man).copy()).save(folder / "-män 1.jpg", quality=95, exif=exif)
    assert main([f"--character={folder / 'man'}", "--", str(folder / "-män 1.jpg")]) == 0
    return folder / "man"


def rejected(capfd, *arguments) -> str:
    """Run the stage on a picture that it must refuse; its message."""
    assert main([str(argument) for argument in arguments]) == 3
    message = capfd.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("REJECTED: ")
    return message


def test_character_holds_the_man(character, man):
    made = Character.load(character)
    crop = made.record.crop
    assert made.record.source_size == (1080, 1920)
    left, top, side = round(crop.left), round(crop.top), round(crop.side)
    # He stands around x = 530, from y = 425 to y = 1220.
    assert left < 300
    assert left + side > 850
    assert 330 < top < 425
    assert 1220 < top + side < 1330
    original = man[top : top + side, max(left, 0) : left + side].astype(float)
    copied = made.image[:, max(-left, 0) :].astype(float)
    assert np.abs(copied[:, : original.shape[1]] - original).mean() < 6
    inside = made.mask > 127
    assert 0.12 < inside.mean() < 0.25
    assert made.record.fit["silhouette_iou"] > 0.8
    assert made.record.mask["score"] > 0.9
    skin = made.image[inside].mean(axis=0)
    assert skin[0] > skin[2] + 15


def test_transparent_picture_keeps_its_own_mask(character, tmp_path):
    made = Character.load(character)
    picture = np.dstack([made.image, made.mask])[::2, ::2]
    Image.fromarray(picture).save(tmp_path / "cut out.png")
    assert main([str(tmp_path / "cut out.png"), "--character", str(tmp_path / "man")]) == 0
    cut = Character.load(tmp_path / "man")
    crop = cut.record.crop
    left, top, side = (round(value) for value in (crop.left, crop.top, crop.side))
    whole = np.pad(picture, ((400, 400), (400, 400), (0, 0)))[top + 400 :, left + 400 :][:side, :side]
    # Specks apart from the person may go; nothing else changes.
    changed = cut.mask != whole[..., 3]
    assert (cut.mask[changed] == 0).all()
    assert changed.mean() < 1e-3
    assert (cut.image[cut.mask == 0] == 255).all()
    assert cut.record.mask["from"] == "transparency"


def test_unusable_pictures_are_refused_with_a_reason(man, tmp_path, capfd):
    target = ["--character", tmp_path / "out"]
    noise = np.random.default_rng(1).integers(0, 255, (500, 400, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert "no person found" in rejected(capfd, tmp_path / "noise.png", *target)
    Image.fromarray(man[360:900, 150:780]).save(tmp_path / "half.png")
    assert "only part of the person" in rejected(capfd, tmp_path / "half.png", *target)
    Image.fromarray(man[::10, ::10]).save(tmp_path / "small.png")
    assert "pixels tall" in rejected(capfd, tmp_path / "small.png", *target)
    Image.fromarray(man[:40, :40]).save(tmp_path / "tiny.png")
    assert "at least 64" in rejected(capfd, tmp_path / "tiny.png", *target)
    (tmp_path / "text.jpg").write_text("no picture")
    assert "cannot be read as a picture" in rejected(capfd, tmp_path / "text.jpg", *target)
    Image.fromarray(man).save(tmp_path / "man.png")
    message = rejected(capfd, tmp_path / "man.png", *target, "--subject", "[30, 1900]")
    assert "people seen: around" in message
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("mode", ["CMYK", "I;16", "L", "LA", "P", "1", "RGBA"])
def test_pictures_of_all_pixel_types_look_the_same(mode, tmp_path):
    grey = np.tile(np.linspace(20, 235, 90).astype(np.uint8), (80, 1))
    image = Image.fromarray(grey)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode in ("LA", "CMYK", "RGBA"):
        image = image.convert("RGB").convert(mode)
    elif mode != "L":
        image = image.convert(mode)
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    image.save(path)
    read = read_picture(path)
    assert read.image.shape == (80, 90, 3)
    assert read.alpha is None
    if mode != "1":
        assert np.abs(read.image.astype(int) - grey[..., None]).max() <= 6


def test_colour_profile_and_size_are_normalised(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.new("RGB", (4000, 1000), (200, 30, 30)).save(tmp_path / "wide.png", icc_profile=profile)
    read = read_picture(tmp_path / "wide.png")
    assert read.image.shape == (750, 3000, 3)
    assert read.size == (4000, 1000)
    assert read.scale == pytest.approx(0.75)
    assert tuple(read.image[5, 5]) == (200, 30, 30)


def test_damaged_characters_are_refused(character, tmp_path):
    shutil.copytree(character, tmp_path / "man")
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(tmp_path / "man" / "mask.png")
    with pytest.raises(Rejected, match="differ in size"):
        Character.load(tmp_path / "man")
    (tmp_path / "man" / "mask.png").write_bytes(b"no picture")
    with pytest.raises(Rejected, match=r"mask\.png: cannot be read"):
        Character.load(tmp_path / "man")
    record = json.loads((tmp_path / "man" / "character.json").read_text())
    del record["crop"]
    (tmp_path / "man" / "character.json").write_text(json.dumps(record))
    with pytest.raises(Rejected, match="crop: Field required"):
        Character.load(tmp_path / "man")
    with pytest.raises(Rejected, match="make the character"):
        Character.load(tmp_path / "nobody")
