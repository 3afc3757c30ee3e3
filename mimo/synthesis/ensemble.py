"""Several people in one scene: each as a layer, from far to near, with what stands in front of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import numpy as np

from mimo.body.motion import Motion
from mimo.casting import REMOVE, Cast
from mimo.character import Character
from mimo.composition.depth_order import DepthOrder
from mimo.composition.kept import cut_out, scene_of
from mimo.composition.layers import PersonLayer, composite, without
from mimo.composition.regions import body_mask
from mimo.composition.transparency import transparent
from mimo.group import PEOPLE, Group, Member, numbers
from mimo.stage import Rejected, StageSettings, progress
from mimo.synthesis.interface import Job
from mimo.template import Template

HIDDEN = 0.02
"""Share of a kept person that others may hide before the hole that they leave is worth a warning."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Player:
    """A member who is seen in the result.

    Attributes:
        member: who.
        number: theirs in ``people.mp4``.
        template: theirs, in the group's scene.
        job: what their character is made by; None: they stay as filmed.
        before: frames of the group before those that their template covers.
        frames: those, as indices into their template's `frame_numbers`.
    """

    member: Member
    number: int
    template: Template
    job: Job | None
    before: int
    frames: range

    def throughout(self, items: Iterable[Item], absent: Item, total: int) -> Iterator[Item]:
        """Something of theirs for each frame of the group, of which they have it for theirs.

        Args:
            items: one for each of their frames.
            absent: in its place for the others.
            total: frames of the group.
        """
        after = total - self.before - len(self.frames)
        return chain(repeat(absent, self.before), items, repeat(absent, after))

    def stream(self, name: str, total: int) -> Iterator[np.ndarray | None]:
        """A video of their template for each frame of the group; None where there is nothing."""
        if name not in self.template.videos or (name == "occ" and not self.template.has_occluder):
            return repeat(None, total)
        return self.throughout(self.template.frames(name, self.frames), None, total)


@dataclass
class Picture:
    """One frame as layers.

    Attributes:
        scene: uint8 (h, w, 3), what is behind everybody.
        layers: people, and what stands in front of each, from far to near.
        filmed: which of them are parts of the video, not characters.
    """

    scene: np.ndarray
    layers: list[PersonLayer] = field(default_factory=list)
    filmed: list[bool] = field(default_factory=list)

    def add(self, layer: PersonLayer, *, filmed: bool) -> None:
        """Put something before all that is there."""
        self.layers.append(layer)
        self.filmed.append(filmed)

    def finished(self) -> np.ndarray:
        """The finished frame, uint8 (h, w, 3)."""
        return composite(self.scene, self.layers)

    def characters_alone(self) -> np.ndarray:
        """Characters and their shadows with straight alpha, without what is filmed in front of them: RGBA."""
        parts = [layer.person for layer, filmed in zip(self.layers, self.filmed, strict=True) if filmed]
        characters: list[PersonLayer] = []
        for layer, filmed in zip(self.layers, self.filmed, strict=True):
            if filmed:
                characters = [
                    PersonLayer(without(one.person, layer.person), one.shadow) for one in characters
                ]
            else:
                shadow = layer.shadow
                for part in parts:
                    # Shadows lie on the ground, behind everything that was filmed.
                    shadow = without(shadow, part)
                characters.append(PersonLayer(layer.person, shadow))
        return transparent(characters, self.scene.shape[:2])


@dataclass
class Ensemble:
    """Everybody of a group in their roles.

    Attributes:
        group: the group.
        cast: who plays whom.
        players: members who are seen.
        order: players from far to near by frame, (frames, players) int.
        metrics, warnings: of the whole; those of the characters stand in the players' jobs.
    """

    group: Group
    cast: Cast
    players: list[Player]
    order: np.ndarray = field(init=False)
    metrics: dict[str, object] = field(default_factory=dict, init=False)
    warnings: list[str] = field(default_factory=list, init=False)

    @classmethod
    def of(cls, group: Group, cast: Cast, characters: Mapping[str, Character], templates: Path) -> Ensemble:
        """Gather everybody, and find out who is in front of whom.

        Args:
            group: the group.
            cast: who plays whom.
            characters: by their names in the cast.
            templates: folder in which the members' templates lie.

        Raises:
            Rejected: the cast does not fit the group, or a member's template is missing or was changed.
        """
        cast.check(group.names, characters)
        players = [
            _player(group, number, characters.get(cast.role(member.name)), templates)
            for number, member in enumerate(group.members, 1)
            if cast.role(member.name) != REMOVE
        ]
        ensemble = cls(group, cast, players)
        ensemble._look_over()
        return ensemble

    def __len__(self) -> int:
        """Frames of the result."""
        return len(self.group.scene.frame_numbers)

    @property
    def jobs(self) -> dict[str, Job]:
        """Jobs of those who are played by characters, by member."""
        return {player.member.name: player.job for player in self.players if player.job is not None}

    def pictures(self, backend: ModuleType, settings: StageSettings) -> Iterator[Picture]:
        """Each frame as layers.

        Args:
            backend: module of this package that makes the characters' layers.
            settings: the backend's.
        """
        total, scene = len(self), self.group.scene
        drawn = [
            player.throughout(backend.layers(player.job, settings), PersonLayer(), total)
            if player.job is not None
            else repeat(None, total)
            for player in self.players
        ]
        occluders = [player.stream("occ", total) for player in self.players]
        before_all = scene.frames("occ") if scene.has_occluder else repeat(None, total)
        kept = [player.number for player in self.players if player.job is None]
        streams = zip(*(scene.frames(name) for name in ("vid", "bk", PEOPLE)), strict=True)
        stacks = zip(_together(drawn, total), _together(occluders, total), self.order, strict=True)
        for (video, empty, people), front, (layers, things, order) in zip(
            streams, before_all, stacks, strict=True
        ):
            whose = numbers(people, len(self.group.members))
            stays = np.isin(whose, kept)
            picture = Picture(scene_of(video, empty, (whose > 0) & ~stays, stays))
            for place in order.tolist():
                layer, thing = layers[place], things[place]
                if layer is None:
                    mine = whose == self.players[place].number
                    picture.add(cut_out(video, mine.astype(np.uint8) * 255), filmed=True)
                else:
                    picture.add(layer, filmed=False)
                if thing is not None and front is not None:
                    # Without the group's members, each of whom is a layer.
                    picture.add(cut_out(video, np.minimum(thing, front), softness=0), filmed=True)
            yield picture

    def _look_over(self) -> None:
        """Find the order in depth, and how much of those who stay is hidden by those who do not."""
        total = len(self)
        depth = DepthOrder(len(self.players), float(self.group.scene.info.fps))
        distances = np.array([_distances(player, total) for player in self.players]).reshape(-1, total)
        bodies = _together([player.stream("sdc", total) for player in self.players], total)
        hidden = np.zeros(len(self.players))
        streams = zip(bodies, self.group.scene.frames(PEOPLE), distances.T, strict=True)
        for codes, people, depths in progress(streams, "who is in front", total):
            whose = numbers(people, len(self.group.members))
            seen = whose == np.array([player.number for player in self.players]).reshape(-1, 1, 1)
            body = np.zeros_like(seen)
            for area, code in zip(body, codes, strict=True):
                if code is not None:
                    area[:] = body_mask(code) > 0
            depth.add(body, seen, depths)
            gone = (whose > 0) & ~seen[[player.job is None for player in self.players]].any(axis=0)
            hidden = np.maximum(hidden, (body & gone).sum(axis=(1, 2)) / np.maximum(body.sum(axis=(1, 2)), 1))
        self.order = depth.orders()
        agreement = depth.agreement()
        self.metrics["depth_order"] = {
            "changes": int((np.diff(self.order, axis=0) != 0).any(axis=1).sum()),
            "agrees_with_video": None if agreement is None else round(agreement, 3),
        }
        for player, share in zip(self.players, hidden, strict=True):
            if player.job is None and share > HIDDEN:
                self.warnings.append(
                    f"{player.member.name} stays, but somebody who does not hides up to {share:.0%} of them: "
                    "what is not seen there cannot be shown; let a character play them, too"
                )


def _player(group: Group, number: int, character: Character | None, templates: Path) -> Player:
    """A member with their template in the group's scene, for the frames that both have.

    Raises:
        Rejected: see `Group.template`, or the two have no frame in common.
    """
    member = group.members[number - 1]
    template = group.template(member, templates)
    ours = group.scene.frame_numbers.tolist()
    theirs = template.frame_numbers.tolist()
    shared = [index for index, frame in enumerate(theirs) if ours[0] <= frame <= ours[-1]]
    if not shared:
        raise Rejected(
            f"{template.folder}: has no frame that the group {group.scene.name} shows; make it again"
        )
    frames = range(shared[0], shared[-1] + 1)
    job = None if character is None else Job(template, character, frames)
    return Player(member, number, template, job, ours.index(theirs[frames.start]), frames)


def _distances(player: Player, total: int) -> np.ndarray:
    """Metres from the camera to a member's body: (frames of the group,) float64, NaN where unknown."""
    distances = np.full(total, np.nan)
    if player.template.motion is not None:
        depth = Motion.load(player.template.motion).translation[:, 2]
        own = player.template.frame_numbers[player.frames.start : player.frames.stop]
        distances[player.before : player.before + len(player.frames)] = depth[own]
    return np.where(distances > 0, distances, np.nan)


def _together(streams: Sequence[Iterator[Item]], total: int) -> Iterator[tuple[Item, ...]]:
    """What several streams have for each frame; nothing where there are none."""
    return zip(*streams, strict=True) if streams else repeat((), total)
