"""Which solver turns velocities into latents: DDIM as the reference, or one that needs fewer steps."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

from mimo.diffusion.presets import SCHEDULERS, SchedulerName

# From here the rest of the noise goes at once, as in the reference, whose 25 steps of DDIM end there.
_LAST_TIMESTEP = 39

# The part of a DDIM configuration that describes the noise, not the solver.
_NOISE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
    "timestep_spacing",
    "steps_offset",
)


def solver(name: SchedulerName, ddim: DDIMScheduler) -> Any:
    """A solver for the noise that a network was trained with.

    Both multistep solvers are of second order and end at zero noise, as DDIM does. Where the noise at the
    first timestep has no signal left (zero terminal SNR), diffusers puts the signal's share at 2^-12, so that
    no logarithm is infinite.

    Args:
        name: ``ddim``: `ddim` itself; ``dpm++``: DPM-Solver++(2M) (Lu et al. 2022); ``unipc``: UniPC with the
            bh2 update (Zhao et al., NeurIPS 2023).
        ddim: describes the noise.

    Raises:
        ValueError: there is no such solver.
    """
    noise = {key: ddim.config[key] for key in _NOISE}
    match name:
        case "ddim":
            return ddim
        case "dpm++":
            return DPMSolverMultistepScheduler(**noise, algorithm_type="dpmsolver++", solver_order=2)
        case "unipc":
            return UniPCMultistepScheduler(**noise, solver_order=2, solver_type="bh2")
    raise ValueError(f"scheduler {name!r}: there is {', '.join(SCHEDULERS)}")


def set_steps(scheduler: Any, steps: int) -> None:
    """Choose the timesteps; DDIM's as the reference does.

    The last step, to zero noise, is of first order in all solvers. With few evenly spread steps it would
    begin far too early and blur what is finer than the noise there; so the last timestep of multistep solvers
    stays the same however few there are.

    Args:
        scheduler: from `solver`.
        steps: their number.
    """
    scheduler.set_timesteps(steps)
    if isinstance(scheduler, DDIMScheduler) or steps < 2:
        return
    first = scheduler.config.num_train_timesteps - 1
    scheduler.timesteps = torch.linspace(first, min(_LAST_TIMESTEP, first // steps), steps).round().long()
    signal = scheduler.alphas_cumprod[scheduler.timesteps]
    scheduler.sigmas = torch.cat([((1 - signal) / signal).sqrt(), torch.zeros(1)])


def history(scheduler: Any) -> dict[str, Tensor]:
    """What a solver remembers of the steps before, for `restore_history`; nothing for DDIM."""
    kept = {
        f"model_output_{i}": output
        for i, output in enumerate(getattr(scheduler, "model_outputs", ()))
        if output is not None
    }
    if getattr(scheduler, "last_sample", None) is not None:
        kept["last_sample"] = scheduler.last_sample
        kept["this_order"] = torch.tensor(scheduler.this_order)
    return kept


def restore_history(scheduler: Any, kept: dict[str, Tensor], step: int) -> None:
    """Bring a solver, its timesteps just set, to where it was after `step` steps.

    Args:
        scheduler: of the same kind and with as many steps as the one `history` was taken from.
        kept: from `history`, on the latents' device.
        step: steps done, at least 1.
    """
    if not hasattr(scheduler, "model_outputs"):
        return
    order = scheduler.config.solver_order
    scheduler.model_outputs = [kept.get(f"model_output_{i}") for i in range(order)]
    scheduler.lower_order_nums = min(step, order)
    scheduler._step_index = step
    if hasattr(scheduler, "last_sample"):
        scheduler.last_sample = kept.get("last_sample")
        scheduler.this_order = int(kept["this_order"])
        done = scheduler.timesteps[max(0, step - order) : step]
        scheduler.timestep_list = [None] * (order - len(done)) + list(done)
