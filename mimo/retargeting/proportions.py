"""The body that performs: the character's own or the driver's, dressed, at one's height or the other's."""

from __future__ import annotations

import numpy as np

from mimo.body.model import BodyModel
from mimo.body.motion import Motion
from mimo.retargeting.settings import BodySettings
from mimo.stage import Rejected


def performing_body(
    dressed: BodyModel, character: Motion, driver: Motion, settings: BodySettings
) -> BodyModel:
    """The body that performs.

    Args:
        dressed: the character's body as it will be drawn, on the same bones as `character`'s.
        character: the character's fitted body, without clothes.
        driver: whose motion it is.
        settings: whose proportions and whose height.

    Raises:
        Rejected: the two are of different body models.
    """
    if character.model != driver.model:
        raise Rejected(
            f"the motion is of body model {driver.model}, the character of {character.model}; make the "
            "template with a pose backend of the character's body model"
        )
    own, drivers = tall(character), tall(driver)
    body, is_tall = dressed, own
    if settings.body == "driver":
        clothes = (dressed.rest_vertices - character.rest_vertices) * np.float32(drivers / own)
        body = BodyModel(dressed.topology, driver.rest_vertices + clothes, driver.rest_bones)
        is_tall = drivers
    return scaled(body, (drivers if settings.height == "driver" else own) / is_tall)


def tall(motion: Motion) -> float:
    """Of a person at rest, metres."""
    return float(np.ptp(motion.rest_vertices[:, 2]))


def scaled(body: BodyModel, factor: float) -> BodyModel:
    """The same body in another size."""
    bones = body.rest_bones.copy()
    bones[:, :3, 3] *= factor
    return BodyModel(body.topology, body.rest_vertices * np.float32(factor), bones)
