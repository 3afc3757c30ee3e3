"""From driving videos to templates, and from templates and character pictures to finished videos."""

from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/storage.smk"
include: "rules/ingest.smk"
include: "rules/segmentation_files.smk"
include: "rules/segmentation.smk"
include: "rules/pose.smk"
include: "rules/occlusion.smk"
include: "rules/inpainting.smk"
include: "rules/segment_files.smk"
include: "rules/segments.smk"
include: "rules/motion.smk"
include: "rules/staging_files.smk"
include: "rules/staging.smk"
include: "rules/group.smk"
include: "rules/template.smk"
include: "rules/character.smk"
include: "rules/synthesis.smk"
include: "rules/part_files.smk"
include: "rules/synthesis_parts.smk"
include: "rules/cast_files.smk"
include: "rules/synthesis_cast.smk"
include: "rules/report.smk"


localrules:
    all,
    templates,


rule all:
    default_target: True
    input:
        # Every file, not only the last ones: a deleted intermediate is then noticed and made again.
        rules.templates.input,
        every(rules.character.output, character=project.results.characters),
        results(),
