"""Which frames are computed together: the released inference's sub-videos, neighbours and references.

A clip longer than a sub-video is worked on in pieces that see some frames of their neighbours, so everything
that one frame's result depends on lies within bounded distance of it.
"""

from __future__ import annotations

from dataclasses import dataclass

COMPLETION_PADDING = 5
PROPAGATION_PADDING = 10


@dataclass(frozen=True)
class Windows:
    """The plan for a clip.

    Attributes:
        count: frames of the clip, at least 2.
        sub_video: frames over which flow is completed and colours are propagated.
        neighbours: frames to either side that the network fills together, and the step between such groups.
        reference_stride: frames between the references from farther away.
    """

    count: int
    sub_video: int = 80
    neighbours: int = 5
    reference_stride: int = 10

    @property
    def blocks(self) -> int:
        """Sub-videos of the clip."""
        return -(-self.count // self.sub_video)

    def block(self, number: int) -> range:
        """Frames of a sub-video."""
        return self._own(number, self.count)

    def completion(self, number: int) -> tuple[range, range]:
        """Flows that are completed with a sub-video, and those that are looked at."""
        own = self._own(number, self.count - 1)
        return own, _padded(own, COMPLETION_PADDING, self.count - 1)

    def propagation(self, number: int) -> tuple[range, range]:
        """Frames whose colours are propagated with a sub-video, and those that are looked at."""
        own = self._own(number, self.count)
        return own, _padded(own, PROPAGATION_PADDING, self.count)

    def middles(self, first: int) -> range:
        """Middles of the groups of neighbours that frames from `first` on belong to."""
        step = self.neighbours
        return range(max(0, -(-(first - step) // step)) * step, self.count, step)

    def near(self, middle: int) -> range:
        """The group of neighbours around a middle."""
        return _padded(range(middle, middle + 1), self.neighbours, self.count)

    def distant(self, middle: int) -> list[int]:
        """References of a group: of the whole clip if it is one sub-video, else within half of one."""
        start, stop = 0, self.count
        if self.count > self.sub_video:
            reach = self.reference_stride * (self.sub_video // self.reference_stride // 2)
            start, stop = max(0, middle - reach), min(self.count, middle + reach)
        near = self.near(middle)
        return [index for index in range(start, stop, self.reference_stride) if index not in near]

    def sees(self, middle: int) -> list[int]:
        """All frames of which a group needs features."""
        return [*self.near(middle), *self.distant(middle)]

    def _own(self, number: int, count: int) -> range:
        start = number * self.sub_video
        return range(min(start, count), min(start + self.sub_video, count))


def _padded(own: range, padding: int, count: int) -> range:
    return range(max(0, own.start - padding), min(count, own.stop + padding))
