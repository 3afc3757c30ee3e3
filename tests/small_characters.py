"""A prepared character of few pixels, without a body, for backends that look at its picture only."""

import cv2
import numpy as np

from mimo.body.motion import Motion
from mimo.character import Character, CharacterRecord, Crop


def make_character(folder):
    image = np.full((64, 64, 3), (30, 60, 200), np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    cv2.ellipse(mask, (32, 32), (10, 24), 0, 0, 360, 255, -1)
    image[mask > 0] = (220, 170, 40)
    body = Motion(
        model="none",
        shape=np.zeros(1),
        rest_vertices=np.zeros((3, 3)),
        rest_bones=np.zeros((1, 4, 4)),
        rotations=np.zeros((1, 1, 3)),
        root_rotation=np.zeros((1, 3)),
        translation=np.zeros((1, 3)),
        camera=np.array([80.0, 32, 32, 64, 64]),
        confidence=np.ones(1),
        visible=np.ones(1, bool),
        ground=np.zeros(4),
    )
    record = CharacterRecord(
        source="person.png",
        source_sha256="0" * 64,
        source_size=(64, 64),
        crop=Crop(left=0, top=0, side=64, scale=1),
        settings={},
        mask={},
        fit={},
    )
    Character(image, mask, body, record).save(folder)
