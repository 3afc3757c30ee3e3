"""The run's configuration, and the paths that the rules are made of."""

import shlex
from errno import ENOENT
from pathlib import Path

from mimo import segments
from mimo.alpha_video import SUFFIXES
from mimo.files import sampled_digest
from mimo.lifetime import announce_run
from mimo.remembered import remembered
from mimo.run.alpha_results import alpha_options, alpha_pattern, has_alpha
from mimo.run.by_hand import unseen_changes
from mimo.run.lock import hold_run_lock
from mimo.run.project import Project
from mimo.run.resources import PICTURE, clip_of_source, clip_of_template
from mimo.run.slurm_jobs import cancel_left_over
from mimo.run.start import dated_now, require_writable
from mimo.stage import Rejected
from mimo.storage.addresses import COPIES, address
from mimo.storage.bucket import listed_digest
from mimo.weight_sources import check

# The checkout's own packages, also when it is not installed or another one is. Snakemake lets OpenBLAS have a job's
# threads: with more than one, last digits depend on the cores that a run has, and fits take 3 times the CPU time.
shell.prefix(
    f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(workflow.basedir))}"
    " OPENBLAS_NUM_THREADS=1; "
)

try:
    project = Project.load(config)
except Rejected as error:
    raise WorkflowError(str(error)) from None


# Stages end with this process, and so does a process that keeps networks loaded for them.
announce_run()


onstart:
    prepare_run()


wildcard_constraints:
    # A template dropped in by hand is used as it is: no rule makes its files.
    video=project.made_here_pattern,
    character=r"[^/]+",
    template=r"[^/]+",
    motion=segments.any_of(project.motions),
    staged=project.staged_pattern,
    group=segments.any_of(project.groups),
    cast=r"[^/]+=[^/]+",


def prepare_run():
    """Refuse to start when another run is at work, a folder cannot be written, or a model file is missing."""
    jobs = list(workflow.dag.needrun_jobs())
    stages = {job.rule.name.partition("_")[0] for job in jobs}
    config = project.config
    try:
        hold_run_lock(Path.cwd())
        require_writable(
            [config.templates, config.prepared, config.results, config.logs]
        )
        cancel_left_over(Path.cwd())
        check.require(project, () if workflow.touch else stages)
        for line in dated_now({file for job in jobs for file in job.input}):
            logger.warning(line)
    except Rejected as error:
        raise WorkflowError(str(error)) from None


def made(name, wildcard="video"):
    """A file of the template of one driving video, or of what another wildcard names."""
    return stored(f"{project.config.templates}/{{{wildcard}}}/{name}")


def template_of_camera(wildcards):
    """The motion of the template whose camera a motion is seen by, if its settings name one."""
    kind, _, folder = project.settings("motion", wildcards.motion).camera.partition(":")
    return [stored(f"{folder}/motion.npz")] if kind == "template" else []


def prepared(name):
    """A file of one prepared character."""
    return stored(f"{project.config.prepared}/{{character}}/{name}")


def result(suffix):
    """A file of the result of one template and one character."""
    return stored(f"{project.config.results}/{{template}}/{{character}}{suffix}")


def with_alpha(result):
    """The file of a result with transparency, or the folder of its pictures; `result` gives its other files."""
    format = project.config.alpha.format or "prores"
    file = result(SUFFIXES[format])
    return directory(file) if format == "png" else file


def made_otherwise():
    """Regular expression of templates whose results other rules make: in parts, with transparency, casts."""
    return f"{segments.in_parts(project)}|{alpha_pattern(project)}|{segments.any_of(project.groups)}"


def result_part(suffix):
    """A file of one part of a result: never stored, since it goes when the parts are joined."""
    return f"{project.config.results}/{{template}}/{{character}}.parts/{{part}}{suffix}"


def results():
    """Every result to make."""
    casts = [(group, cast.name) for group, cast in project.results.casts]
    made = []
    for pairs, rule, rule_with_alpha, names in (
        (
            project.pairs,
            rules.synthesis,
            rules.synthesis_alpha,
            ("template", "character"),
        ),
        (casts, rules.synthesis_cast, rules.synthesis_cast_alpha, ("group", "cast")),
    ):
        for maker, alpha in ((rule, False), (rule_with_alpha, True)):
            those = [pair for pair in pairs if has_alpha(project, pair[0]) == alpha]
            made += every(maker.output, zip, **dict(zip(names, unzipped(those))))
    return made


def unzipped(pairs):
    """Pairs as two lists."""
    columns = [*zip(*pairs)]
    return columns or ((), ())


def every(files, *combine, **names):
    """Output files of a rule for all of some names, as `expand`, which takes no remote files."""
    return [stored(path) for path in expand(map(str, files), *combine, **names)]


def logged(stage, what):
    """Log (.log) or resource measurement (.tsv) of one job of a stage."""
    return f"{project.config.logs}/{stage}/{what}"


def options(stage, wildcard):
    """Command-line options of a stage: its backend and settings, and what a segment is told of the whole."""
    return lambda wildcards: [
        *project.options(stage, wildcards[wildcard]),
        *segments.told_options(project, stage, wildcards[wildcard]),
    ]


def digest(stage, wildcard):
    """Digest of a stage's code and model files, so that it runs again when they change."""
    return lambda wildcards: project.digest(stage, wildcards[wildcard])


def content(files, wildcard):
    """Digest of a source's content, so that one put in its place is noticed, even if it is older."""
    return lambda wildcards: source_digest(files[wildcards[wildcard]])


def source_digest(file):
    """Digest of a source's content, here or on the storage."""
    if address(file):
        return listed_digest(file)
    return remembered(file, "samples", sampled_digest)


def unseen(wildcard, stage):
    """No input; but Snakemake, which has no trigger for them, is told of changes by hand to a template.

    The stage is the one that finds what passes in front.
    """

    def none(wildcards):
        folder = project.config.templates / wildcards[wildcard]
        if workflow.is_main_process and not address(folder):
            workflow.dag.forcefiles.update(unseen_changes(folder, stage))
        return []

    return none


def environment(stage, wildcard):
    """Conda environment of a stage, by its backend."""
    return lambda wildcards: project.environment(stage, wildcards[wildcard])


def named_files(stage, wildcard):
    """Files that a stage's settings name, and for a segment those of the whole that it needs."""
    return lambda wildcards: [
        *project.extra_files(stage, wildcards[wildcard]),
        *segments.told_files(project, stage, wildcards[wildcard]),
    ]


def threads(stage, wildcard):
    """Processor cores that a stage's backend keeps busy."""
    return lambda wildcards: project.threads(stage, wildcards[wildcard])


def needs(stage, wildcard, file="vid", share=None):
    """Resources of a job, by the clip that an input belongs to (see mimo.run.resources).

    The stage may be a wildcard in braces. What a job does of the clip, if not all, `share(name, clip)` gives.
    """

    def need(resource):
        def amount(wildcards, input, attempt):
            name, of = wildcards[wildcard], stage.format_map(wildcards)
            clip = job_clip(of, name, Path(input[file]))
            clip = share(name, clip) if share else clip
            return getattr(project.demand(of, name, clip, attempt), resource)

        return amount

    def gpu(wildcards):
        return project.gpus(stage.format_map(wildcards), wildcards[wildcard])

    names = ("mem_mb", "runtime", "gpu_mem_mb")
    return {"gpu": gpu, **{name: need(name) for name in names}}


def job_clip(stage, name, file):
    """What a job works on. As long as its file is missing, Snakemake says <TBD>, and asks again."""
    if stage == "ingest" and workflow.dryrun:
        # A plan for a thousand videos opens none of them: that takes 10 to 20 ms each.
        raise FileNotFoundError(ENOENT, "not looked at in a dry run", str(file))
    if stage == "ingest":
        return clip_of_source(file, project.settings(stage, name))
    if stage in ("character", "motion"):
        return PICTURE
    return clip_of_template(file.parent, file)
