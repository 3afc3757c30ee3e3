"""People as layers: order, shadows, what stands in front; straight alpha; a synthesised person's outline."""

import cv2
import numpy as np
import pytest
from test_diffusion_compose import COUNT, HEIGHT, WIDTH, scene, synthesised

from mimo.compose import Compositor
from mimo.composition.layers import Layer, PersonLayer, composite, shadow_layer
from mimo.composition.regions import Box, Clip, frame_box, pad_square
from mimo.composition.transparency import REACH, spread, transparent

SIZE = (120, 160)


def disc(x: int, y: int, radius: int, colour: tuple[int, int, int], softness: float = 1.5) -> Layer:
    """A soft disc of one colour in a box of its own."""
    side = 2 * radius + 20
    alpha = np.zeros((side, side), np.float32)
    cv2.circle(alpha, (side // 2, side // 2), radius, 1.0, -1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), softness)
    return Layer(x - side // 2, y - side // 2, alpha[..., None] * np.float32(colour), alpha)


def shadow(x: int, y: int, radius: int, strength: float) -> Layer:
    drawn = disc(x, y, radius, (0, 0, 0), 4)
    return shadow_layer(drawn.left, drawn.top, strength * drawn.alpha)


FAR = PersonLayer(disc(60, 60, 25, (220, 40, 30)), shadow(60, 85, 20, 0.5))
NEAR = PersonLayer(disc(85, 65, 25, (30, 60, 230)), shadow(62, 62, 20, 0.5))


def over(picture: np.ndarray, background: np.ndarray) -> np.ndarray:
    """A straight RGBA picture over another, as any program does it."""
    alpha = picture[..., 3:].astype(np.float32) / 255
    return picture[..., :3] * alpha + background * (1 - alpha)


def noise() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (*SIZE, 3), np.uint8)


def test_the_nearer_person_hides_the_farther_and_shadows_lie_on_the_ground():
    background = np.full((*SIZE, 3), 200, np.uint8)
    picture = composite(background, [FAR, NEAR])
    assert picture[63, 72].tolist() == [30, 60, 230]
    assert composite(background, [NEAR, FAR])[63, 72].tolist() == [220, 40, 30]
    # The near one's shadow falls where the far one stands: on the ground behind, not on them.
    assert picture[60, 45].tolist() == [220, 40, 30]
    assert picture[94, 60, 0] < 190
    assert (background == 200).all(), "the background is left as it is"


def test_what_stands_in_front_comes_back_with_its_soft_edge():
    background, video = noise(), np.full((*SIZE, 3), 77, np.uint8)
    occluder = np.zeros(SIZE, np.uint8)
    occluder[:, 70:90] = 255
    occluder[:, 69] = 128
    with_it, without = (composite(background, [FAR], video, one) for one in (occluder, None))
    assert (with_it[:, 70:90] == 77).all()
    assert np.array_equal(with_it[:, :69], without[:, :69])
    assert np.abs(with_it[:, 69] - (without[:, 69] * (127 / 255) + 77 * 128 / 255)).max() <= 1


@pytest.mark.parametrize("people", [[FAR], [FAR, NEAR], [PersonLayer()], []])
def test_straight_alpha_over_any_background_is_the_composite(people):
    picture = transparent(people, SIZE)
    for background in (noise(), np.zeros((*SIZE, 3), np.uint8), np.full((*SIZE, 3), 255, np.uint8)):
        error = np.abs(over(picture, background) - composite(background, people))
        assert error.max() < 3
        assert error.mean() < 0.6


def test_occluders_are_cut_out_of_person_and_shadow():
    occluder = np.zeros(SIZE, np.uint8)
    occluder[:, 50:] = 255
    picture = transparent([FAR], SIZE, occluder)
    assert not picture[:, 50:, 3].any()
    assert np.array_equal(picture[:, :50], transparent([FAR], SIZE)[:, :50])


def test_colours_go_on_where_nothing_is_seen():
    person = PersonLayer(FAR.person)
    picture = transparent([person], SIZE)
    seen = picture[..., 3] > 0
    near = cv2.dilate(seen.astype(np.uint8), np.ones((9, 9))) > 0
    assert np.abs(picture[near][:, :3].astype(int) - (220, 40, 30)).max() <= 2
    far = cv2.dilate(seen.astype(np.uint8), np.ones((2 * REACH + 5, 2 * REACH + 5))) == 0
    assert far.any()
    assert not picture[far].any()
    # A shadow alone is black throughout, also where its colour is carried on.
    assert not transparent([PersonLayer(None, FAR.shadow)], SIZE)[..., :3].any()


def test_spread_colours_pass_from_one_to_the_other():
    alpha = np.zeros((8, 64), np.float32)
    alpha[:, 0] = alpha[:, -1] = 1
    colour = np.zeros((8, 64, 3), np.float32)
    colour[:, 0], colour[:, -1] = 240, 40
    found = spread(colour, alpha)[4, :, 0]
    assert (found[0], found[-1]) == (240, 40)
    assert found[1:-1].min() >= 39
    assert found[1:-1].max() <= 241
    assert found[12] > found[32] > found[52]


def cut_out(shift: float = 0.0):
    """Layers of a green person that a synthesis put into a textured scene, in two clips that share frames."""
    scenes = [scene(i) for i in range(COUNT)]
    clips = [Clip(0, 6, Box(10, 180, 10, 170)), Clip(3, 11, Box(60, 240, 10, 170))]
    video = [synthesised(scenes[i], clip.box, shift)[0] for clip in clips for i in clip.frames]
    return scenes, list(Compositor(clips, mode="improved").layers(video, scenes))


def test_the_synthesised_person_is_cut_out_of_the_scene():
    scenes, layers = cut_out(shift=0.03)
    assert len(layers) == COUNT
    for source, layer in zip(scenes, layers, strict=True):
        _, person = synthesised(source, Box(0, WIDTH, 0, HEIGHT), 0)
        picture = transparent([layer], (HEIGHT, WIDTH))
        opaque = picture[..., 3] > 127
        assert (opaque & person).sum() / (opaque | person).sum() > 0.95
        # Over red, nothing of the scene is left at the outline: each pixel is green, red or between them.
        red = over(picture, np.array([255, 0, 0]))
        assert red[..., 2].max() < 90
        green_to_red = np.abs(red[..., 0] + red[..., 1] * (255 - 20) / 220 - 255)
        assert np.percentile(green_to_red[person], 95) < 25


def test_a_person_in_the_colours_of_the_scene_is_whole():
    """Across their middle they look like the scene behind: the rendered body says where they are."""
    source = scene(4)
    box = frame_box(source.sdc)
    picture, _ = synthesised(source, box, 0)
    square, padding = pad_square(source.background[box.y0 : box.y1, box.x0 : box.x1], (255, 255, 255))
    rows = slice(padding.top + 40, padding.top + 65)
    picture[rows] = square[rows].astype(np.float32) / 255
    compositor = Compositor([Clip(0, 0, box)], mode="improved", match_colours=False)
    (layer,) = compositor.layers([picture], [source])
    opaque = transparent([layer], (HEIGHT, WIDTH))[..., 3] > 127
    body = cv2.erode((source.sdc[..., 0] > 0).astype(np.uint8), np.ones((9, 9))) > 0
    assert opaque[body].mean() > 0.9


def test_a_shadow_on_the_ground_is_told_from_the_person():
    source = scene(4)
    shade = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.ellipse(shade, (100, 146), (40, 9), 0, 0, 360, 0.45, -1)
    shade = cv2.GaussianBlur(shade, (0, 0), 3)
    shaded = np.rint(source.background * (1 - shade[..., None])).astype(np.uint8)
    box = Box(20, 180, 20, 176)
    picture, _ = synthesised(source._replace(background=shaded), box, 0)
    compositor = Compositor([Clip(0, 0, box)], mode="improved", match_colours=False)
    (layer,) = compositor.layers([picture / 0.95], [source])
    opaque = transparent([PersonLayer(layer.person)], (HEIGHT, WIDTH))[..., 3] > 127
    whole = synthesised(source, Box(0, WIDTH, 0, HEIGHT), 0)[1]
    assert (opaque & whole).sum() / (opaque | whole).sum() > 0.93
    darkness = np.zeros_like(shade)
    assert layer.shadow is not None
    darkness[layer.shadow.area] = layer.shadow.alpha
    beside = cv2.dilate(whole.astype(np.uint8), np.ones((9, 9))) == 0
    assert np.abs(darkness - shade)[beside & (shade > 0.1)].mean() < 0.1
    assert darkness[:100].max() < 0.02
