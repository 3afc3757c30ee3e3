"""The backend sam2 of the character stage: a picture masked by tiny networks, its body fitted."""

import cv2
import networks_sam2 as networks
import numpy as np
import pytest
import torch
from PIL import Image

from mimo import weights
from mimo.character import Character
from mimo.stage import Rejected
from mimo.video import VideoReader
from video_decomp.character import sam2
from video_decomp.character.__main__ import main
from video_decomp.sam2.interface import Prompt
from video_decomp.sam2.loading import load_image_network
from video_decomp.sam2.masker import ImageMasker
from video_decomp.sam2.networks import Networks

pytestmark = pytest.mark.usefixtures("one_thread")

MAN = (0.24, 0.21, 0.72, 0.65)
"""Where the man stands in frame 84 of the clip, in units of the picture."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    networks.video_network().save_pretrained(folder / "sam2")
    networks.detector(folder / "detector", MAN)
    networks.key_points(folder / "key_points", 0.9)
    torch.save(networks.official("sam"), folder / "sam.pth")
    return folder


@pytest.fixture(scope="module")
def man():
    weights.fetch([*weights.select(["pose/anny"]), "pose2sim-cam02"])
    return VideoReader(weights.path("pose2sim-cam02")).frame(84)


def options(files):
    return {"weights": files / "sam2", "detector": files / "detector", "key_points": files / "key_points"}


def outline():
    """A person-like outline in the man's place: what a trained network would find."""
    mask = np.zeros((1920, 1080), np.uint8)
    for centre, axes in (
        ((530, 520), (75, 95)),
        ((530, 740), (115, 200)),
        ((480, 1060), (50, 180)),
        ((590, 1060), (50, 180)),
    ):
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    return mask


def test_character_is_made_from_the_mask(man, files, tmp_path, monkeypatch):
    """The random mask is replaced by an outline; detection, refinement, cropping and the body are real."""
    soft = cv2.GaussianBlur(outline().astype(np.float32), (0, 0), 3)
    seen, first_mask = [], Networks.first_mask

    def masked(self, image, prompt, tracker=None):
        seen.append(prompt.box)
        assert first_mask(self, image, prompt).shape == soft.shape
        return soft

    monkeypatch.setattr(Networks, "first_mask", masked)
    Image.fromarray(man).save(tmp_path / "man.png")
    more = [f"--{key.replace('_', '-')}={place}" for key, place in options(files).items()]
    picture = [str(tmp_path / "man.png"), "--character", str(tmp_path / "made"), "--backend", "sam2"]
    assert main([*picture, *more, "--device=cpu", "--min-overlap=0.2"]) == 0
    made = Character.load(tmp_path / "made")
    assert np.allclose(seen[0], np.array(MAN) * (1080, 1920, 1080, 1920), atol=0.5)
    assert {"rtdetr-v2-r50", "sam2.1-hiera-large", "anny-body"} <= set(made.record.weights)
    assert made.record.mask["people"] == 1
    crop = made.record.crop
    left, top, side = round(crop.left), round(crop.top), round(crop.side)
    whole = np.pad(outline(), ((400, 400), (400, 400)))[top + 400 :, left + 400 :][:side, :side]
    again = cv2.resize(whole, made.mask.shape[::-1], interpolation=cv2.INTER_AREA) > 0
    assert (again & (made.mask > 127)).sum() / (again | (made.mask > 127)).sum() > 0.9


def test_masks_keep_their_place_in_pictures_of_any_shape(files):
    """The first SAM sees a padded square: what it finds must come back to where it was seen."""
    network = load_image_network(files / "sam.pth")
    image = np.full((90, 240, 3), 90, np.uint8)
    seen = []

    def found(pixel_values, input_boxes, multimask_output):
        seen.append((pixel_values, input_boxes[0, 0].tolist()))
        logits = torch.full((1, 1, 1, 32, 32), -10.0)
        logits[..., 4:8, 8:16] = 10.0
        return type("Output", (), {"pred_masks": logits})

    masker = ImageMasker(network)
    masker._network = type(
        "Stub", (), {"device": network.device, "dtype": network.dtype, "__call__": staticmethod(found)}
    )()
    mask = masker.mask(image, (60, 30, 120, 60)) > 0.5
    pixels, box = seen[0]
    # 240x90 becomes 128x48 of the 128x128 that the network sees; the rest is padding.
    assert box == [32, 16, 64, 32]
    assert (pixels[..., :48, :] != 0).all()
    assert (pixels[..., 48:, :] == 0).all()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert np.allclose([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], [60, 30, 120, 60], atol=2)


def test_networks_are_loaded_as_the_settings_say(man, files):
    small = cv2.resize(man, (270, 480), interpolation=cv2.INTER_AREA)
    settings = sam2.Settings(device="cpu", first_mask="sam", sam_weights=files / "sam.pth", **options(files))
    assert "sam2.1-hiera-large" not in settings.weight_files()
    assert "anny-body" in settings.weight_files()
    chosen = Networks(settings)
    soft = chosen.first_mask(small, Prompt(0, box=(60, 100, 190, 310)))
    assert soft.shape == (480, 270)
    assert chosen.used == ["sam-vit-h"]
    wanted = settings.model_copy(update={"subject": (20.0, 400.0)})
    with pytest.raises(Rejected, match="people seen: around"):
        sam2.find(small, wanted)
