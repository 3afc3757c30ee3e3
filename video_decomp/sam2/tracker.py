"""Masks of things through a whole clip, by SAM 2.1 (Ravi et al. 2024), in memory that does not grow.

The library's own session keeps every frame, every frame's features and every frame's masks. Here the same
network runs on a session that holds what the network can still look at, no more: the prompted frame, the six
latest memories and the fifteen latest object pointers. Frames are decoded as they are needed and encoded a
few at a time; the results are those of the library's session (a test compares them).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import Sam2VideoInferenceSession

from mimo.video import VideoReader
from video_decomp.sam2.frames import stacked, to_pixels
from video_decomp.sam2.interface import Prompt, Tracked
from video_decomp.sam2.network import VideoNetwork
from video_decomp.sam2.spill import MaskSpill
from video_decomp.sam2.streams import ahead, backwards, batches, forwards

_OBJECT = 1  # the session's name of its only object
_MOST_CONDITIONS = 8  # frames with given masks that a frame looks at, the nearest ones
_SURE = 10.0  # logit of a mask that is shown to the network, to be changed by points
NO_OBJECT = -1024.0
"""Logit of a thing that is not there, as the network gives it."""


class VideoTracker:
    """Tracks prompted things through videos.

    Args:
        model: on its device, in the precision to work in (see `video_decomp.sam2.loading`).
        batch: frames that the image encoder takes at once; more is faster on a GPU and takes memory.
    """

    def __init__(self, model: VideoNetwork, batch: int = 8) -> None:
        self.model = model
        self.batch = batch
        model.config.max_cond_frame_num = _MOST_CONDITIONS
        model.accelerate()

    def track(
        self, video: VideoReader, prompts: Sequence[Prompt], corrected: Sequence[Prompt] = ()
    ) -> Iterator[Tracked]:
        """Follow each thing from its prompted frame to both ends of the video.

        The way back comes first, its masks wait in a temporary file; then frames come in order.

        Args:
            video: a normalised video.
            prompts: one for each thing.
            corrected: masks of the first thing in further frames, which all its frames look at, too.

        Yields:
            Every frame of the video, from 0.

        Raises:
            ValueError: no prompt, or one outside the video.
            mimo.video.VideoError: a frame cannot be decoded.
        """
        if not prompts or not all(0 <= prompt.frame < len(video) for prompt in [*prompts, *corrected]):
            raise ValueError(f"{video.path}: prompts of frames {[prompt.frame for prompt in prompts]}")
        size = (video.info.height, video.info.width)
        things = [_Thing(self.model, prompt, size, len(video)) for prompt in prompts]
        self._show(video, things[0], corrected)
        with tempfile.TemporaryFile() as file:
            past = MaskSpill(file)
            last = max(prompt.frame for prompt in prompts)
            for tracked in self._sweep(backwards(video, last), things, reverse=True):
                past.put(tracked.frame, tracked.masks, tracked.scores)
            for tracked in self._sweep(forwards(video), things, reverse=False):
                yield _with_past(tracked, things, past)

    @torch.inference_mode()
    def first_mask(self, image: np.ndarray, prompt: Prompt) -> np.ndarray:
        """How likely each pixel belongs to the prompted thing, without tracking.

        Args:
            image: the prompt's frame, uint8 (height, width, 3) RGB.
            prompt: by box or points.

        Returns:
            float32 (height, width), 0..1; more than 0.5 is the mask; zeros when the network sees no thing.
        """
        size = (image.shape[0], image.shape[1])
        thing = _Thing(self.model, prompt, size, frames=prompt.frame + 1)
        features = next(self._encode(stacked([image], self.model.device)))
        logits, _ = thing.step(prompt.frame, features, reverse=False)
        return _resized(logits, size)[0].sigmoid().cpu().numpy()

    @torch.inference_mode()
    def changed(self, image: np.ndarray, mask: np.ndarray, prompt: Prompt) -> np.ndarray:
        """A mask as points on its frame change it, without tracking.

        Args:
            image: the frame, uint8 (height, width, 3) RGB.
            mask: bool (height, width), the thing as it was found.
            prompt: by points.

        Returns:
            bool (height, width).
        """
        size = (image.shape[0], image.shape[1])
        thing = _Thing(self.model, prompt, size, frames=prompt.frame + 1)
        features = next(self._encode(stacked([image], self.model.device)))
        return (_resized(thing.changed(mask, features), size)[0] > 0).cpu().numpy()

    @torch.inference_mode()
    def _show(self, video: VideoReader, thing: _Thing, prompts: Sequence[Prompt]) -> None:
        """Let a thing remember what it looks like in further frames."""
        for prompt in prompts:
            features = next(self._encode(stacked([video.frame(prompt.frame)], self.model.device)))
            thing.remember(prompt, features)

    @torch.inference_mode()
    def _sweep(
        self, frames: Iterator[tuple[int, np.ndarray]], things: list[_Thing], *, reverse: bool
    ) -> Iterator[Tracked]:
        """One direction of time: each thing from its prompted frame on, nothing before that.

        A batch's results are read after the next batch's work has been given to the device.
        """
        stage = _Stage(self.model.device)
        before: _Results | None = None
        for batch in ahead(map(stage, batches(frames, self.batch)), 2):
            results = self._follow(batch, things, reverse)
            if before is not None:
                yield from before.read()
            before = results
        if before is not None:
            yield from before.read()

    def _follow(self, batch: _Batch, things: list[_Thing], reverse: bool) -> _Results:
        """The things in the next frames; their results may not be computed yet."""
        size = (batch.pixels.shape[1], batch.pixels.shape[2])
        if not any(thing.is_reached(frame, reverse) for frame in batch.frames for thing in things):
            nothing = torch.zeros((len(batch.frames), len(things), *size), dtype=torch.bool)
            return _Results(batch, nothing, nothing[:, :, 0, 0].float())
        masks, scores = [], []
        for frame, features in zip(batch.frames, self._encode(batch.pixels), strict=True):
            steps = [thing.step(frame, features, reverse) for thing in things]
            masks.append(_resized(torch.cat([logits for logits, _ in steps]), size) > 0)
            scores.append(torch.cat([score for _, score in steps]).sigmoid())
        return _Results(batch, torch.stack(masks), torch.stack(scores))

    def _encode(self, images: torch.Tensor) -> Iterator[dict[str, list[torch.Tensor]]]:
        """Features of each image, as the session keeps them."""
        size = (self.model.image_size, self.model.image_size)
        pixels = to_pixels(images, size, self.model.device, self.model.dtype)
        encoded = self.model.get_image_features(pixels, return_dict=True)
        for i in range(len(images)):
            yield {
                "vision_feats": [level[:, i : i + 1] for level in encoded.fpn_hidden_states],
                "vision_pos_embeds": [level[:, i : i + 1] for level in encoded.fpn_position_encoding],
            }


@dataclass(frozen=True)
class _Batch:
    """Frames on their way to the network: their indices, images, and the images as one tensor."""

    frames: list[int]
    images: list[np.ndarray]
    pixels: torch.Tensor


class _Stage:
    """Makes batches of frames ready for a device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self, frames: list[tuple[int, np.ndarray]]) -> _Batch:
        """Stack the images."""
        images = [image for _, image in frames]
        return _Batch([index for index, _ in frames], images, stacked(images, self._device))


class _Results:
    """Masks and scores of a batch on their way back from the device."""

    def __init__(self, batch: _Batch, masks: torch.Tensor, scores: torch.Tensor) -> None:
        """Take results on the device: bool (frames, things, height, width), float32 (frames, things)."""
        self._batch = batch
        self._masks = torch.empty(masks.shape, dtype=masks.dtype, pin_memory=masks.is_cuda)
        self._scores = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=masks.is_cuda)
        self._masks.copy_(masks, non_blocking=True)
        self._scores.copy_(scores, non_blocking=True)
        self._done = torch.cuda.Event() if masks.is_cuda else None
        if self._done is not None:
            self._done.record()

    def read(self) -> Iterator[Tracked]:
        """Wait until they are there."""
        if self._done is not None:
            self._done.synchronize()
        # Copied, since pinned memory is used again for later batches.
        masks, scores = self._masks.numpy().copy(), self._scores.numpy().copy()
        for i, frame in enumerate(self._batch.frames):
            yield Tracked(frame, self._batch.images[i], masks[i], scores[i])


class _Session(Sam2VideoInferenceSession):
    """The library's session without its frames: they come and go by way of its cache of features."""

    def __init__(self, frames: int, **more: Any) -> None:
        super().__init__(**more)
        self._frames = frames

    @property
    def num_frames(self) -> int:
        """Length of the video, which the network asks for."""
        return self._frames


class _Thing:
    """One tracked thing: its prompt and what the network remembers of it."""

    def __init__(self, model: VideoNetwork, prompt: Prompt, size: tuple[int, int], frames: int) -> None:
        """Take a prompt for a video of `frames` frames of `size` (height, width)."""
        self.model = model
        self.frame = prompt.frame
        self.session = _Session(
            frames,
            video_height=size[0],
            video_width=size[1],
            inference_device=model.device,
            inference_state_device=model.device,
            dtype=model.dtype,
        )
        index = self.session.obj_id_to_idx(_OBJECT)
        if prompt.mask is not None:
            self.session.add_mask_inputs(index, prompt.frame, _mask_input(prompt.mask, model))
        else:
            self.session.add_point_inputs(index, prompt.frame, _point_input(prompt, size, model))
        self.session.obj_with_new_inputs = [_OBJECT]

    def remember(self, prompt: Prompt, features: dict[str, list[torch.Tensor]]) -> None:
        """Take the thing's mask in a further frame."""
        assert prompt.mask is not None
        self.session.add_mask_inputs(0, prompt.frame, _mask_input(prompt.mask, self.model))
        self.session.cache.cache_vision_features(prompt.frame, features)
        self.model(self.session, frame_idx=prompt.frame)
        self._forget(prompt.frame)
        self.session.obj_with_new_inputs = [_OBJECT]

    def changed(self, mask: np.ndarray, features: dict[str, list[torch.Tensor]]) -> torch.Tensor:
        """Logits of a mask, (1, side, side) float32, as the prompt's points change it."""
        self.session.cache.cache_vision_features(self.frame, features)
        side = self.model.prompt_encoder.mask_input_size
        full = torch.from_numpy(mask.astype(np.float32)).to(self.model.device)[None, None]
        shown = functional.interpolate(full, side, mode="bilinear", antialias=True, align_corners=False)
        output = self.model._run_single_frame_inference(
            inference_session=self.session,
            frame_idx=self.frame,
            obj_idx=0,
            batch_size=1,
            is_init_cond_frame=True,
            point_inputs=self.session.point_inputs_per_obj[0][self.frame],
            mask_inputs=None,
            reverse=False,
            prev_sam_mask_logits=((2 * shown - 1) * _SURE).to(self.model.dtype),
        )
        return output["pred_masks"][:, 0].float()

    def is_reached(self, frame: int, reverse: bool) -> bool:
        """Whether tracking in this direction has come to the thing's prompt."""
        return frame <= self.frame if reverse else frame >= self.frame

    def step(
        self, frame: int, features: dict[str, list[torch.Tensor]], reverse: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The thing in the next frame.

        Returns:
            Logits of its mask, float32 (1, side, side), and of its being seen, float32 (1,).
        """
        if not self.is_reached(frame, reverse):
            side = self.model.prompt_encoder.mask_input_size
            nothing = torch.full((1, *side), NO_OBJECT, device=self.model.device)
            return nothing, nothing[:, 0, 0]
        self.session.cache.cache_vision_features(frame, features)
        output = self.model(self.session, frame_idx=frame, reverse=reverse)
        self._forget(frame)
        return output.pred_masks[:, 0].float(), output.object_score_logits.view(-1).float()

    def _forget(self, now: int) -> None:
        """Drop what the network cannot look at any more, neither from here nor from the prompt, where the
        other direction begins."""
        memories = self.model.num_maskmem - 1
        pointers = self.model.config.max_object_pointers_in_encoder - 1
        outputs = self.session.output_dict_per_obj[0]
        for kind, kept in outputs.items():
            for frame in list(kept):
                kept[frame].pop("high_res_masks", None)
                if kind == "cond_frame_outputs":
                    continue
                kept[frame].pop("pred_masks", None)
                distance = min(abs(frame - now), abs(frame - self.frame))
                if distance > pointers:
                    del kept[frame]
                elif distance > memories:
                    kept[frame].pop("maskmem_features", None)
                    kept[frame].pop("maskmem_pos_enc", None)
        self.session.frames_tracked_per_obj[0].clear()


def _mask_input(mask: np.ndarray, model: VideoNetwork) -> torch.Tensor:
    """A mask as the network takes it: (1, 1, side, side), 0 or 1."""
    size = (model.image_size, model.image_size)
    full = torch.from_numpy(mask.astype(np.float32)).to(model.device)[None, None]
    resized = functional.interpolate(full, size, mode="bilinear", antialias=True, align_corners=False)
    return (resized >= 0.5).to(model.dtype)


def _point_input(prompt: Prompt, size: tuple[int, int], model: VideoNetwork) -> dict[str, torch.Tensor]:
    """A box and points as the network takes them: coordinates of its own image, corners labelled 2 and 3."""
    points, labels = list(prompt.points), [int(inside) for inside in prompt.inside]
    if prompt.box is not None:
        points, labels = [prompt.box[:2], prompt.box[2:], *points], [2, 3, *labels]
    scale = torch.tensor([model.image_size / size[1], model.image_size / size[0]])
    coordinates = torch.tensor(points, dtype=torch.float32) * scale
    return {
        "point_coords": coordinates[None, None].to(model.device),
        "point_labels": torch.tensor(labels, dtype=torch.int32, device=model.device)[None, None],
    }


def _resized(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Logits (things, side, side) of the network as (things, height, width) of the video."""
    return functional.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]


def _with_past(tracked: Tracked, things: list[_Thing], past: MaskSpill) -> Tracked:
    """A frame of the way forward, with the masks of the way back for things prompted later."""
    before = [i for i, thing in enumerate(things) if tracked.frame < thing.frame]
    if not before:
        return tracked
    masks, scores = tracked.masks.copy(), tracked.scores.copy()
    past_masks, past_scores = past.take(tracked.frame)
    masks[before], scores[before] = past_masks[before], past_scores[before]
    return Tracked(tracked.frame, tracked.image, masks, scores)
