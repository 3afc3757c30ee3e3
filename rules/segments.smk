"""Long videos: cut into segments that the heavy stages work on at the same time, and joined again."""


rule segment:
    input:
        vid=rules.ingest.output.vid,
    output:
        vid=ensure(made("segments/{part}/vid.mp4"), non_empty=True),
        place=made("segments/{part}/segment.json"),
    log:
        logged("segment", "{video}/segments/{part}.log"),
    wildcard_constraints:
        video=segments.divided(project),
        part=r"\d+",
    conda:
        environment("ingest", "video")
    threads: 1
    resources:
        mem_mb=1000,
    params:
        folder=subpath(input.vid, parent=True),
        parts=part_count,
        overlap=project.config.segments.overlap,
        code=segments.join_digest("cut"),
    message:
        "{wildcards.video}: cutting segment {wildcards.part}"
    shell:
        "python -m video_decomp.segments.cut --template={params.folder:q} --part={wildcards.part}"
        " --parts={params.parts} --overlap={params.overlap} > {log:q} 2>&1"


rule survey:
    input:
        vid=rules.ingest.output.vid,
        mask=lambda wildcards: (
            [] if wildcards.stage == "segmentation" else made("mask.mp4")
        ),
        named=lambda wildcards: project.extra_files(wildcards.stage, wildcards.video),
    output:
        survey=ensure(made("segments/{stage}.npz"), non_empty=True),
    log:
        logged("{stage}", "{video}/segments/survey.log"),
    benchmark:
        logged("{stage}", "{video}/segments/survey.tsv")
    wildcard_constraints:
        video=segments.divided(project),
        stage="|".join(segments.DIVIDED_STAGES),
    conda:
        lambda wildcards: project.environment(wildcards.stage, wildcards.video)
    threads: 2
    resources:
        **needs("{stage}", "video"),
    params:
        folder=subpath(input.vid, parent=True),
        options=lambda wildcards: project.options(wildcards.stage, wildcards.video),
        code=lambda wildcards: segments.survey_digest(
            project, wildcards.stage, wildcards.video
        ),
    message:
        "{wildcards.video}: looking at all of it for {wildcards.stage}"
    shell:
        "python -m video_decomp.segments.survey {wildcards.stage} --template={params.folder:q}"
        " {params.options:q} > {log:q} 2>&1"


rule join_mask:
    input:
        vid=rules.ingest.output.vid,
        parts=part_files("segment.json", "mask.mp4", "records/segmentation.json"),
    output:
        mask=ensure(made("mask.mp4"), non_empty=True),
        record=made("records/segmentation.json"),
    log:
        logged("segmentation", "{video}.log"),
    benchmark:
        logged("segmentation", "{video}.tsv")
    wildcard_constraints:
        video=segments.divided(project, "segmentation"),
    conda:
        environment("segmentation", "video")
    threads: 1
    resources:
        mem_mb=1000,
    params:
        folder=subpath(input.vid, parent=True),
        parts=part_count,
        code=segments.join_digest("mask"),
    message:
        "{wildcards.video}: joining the masks of its segments"
    shell:
        "python -m video_decomp.segments.mask --template={params.folder:q} --parts={params.parts}"
        " > {log:q} 2>&1"


rule join_motion:
    input:
        vid=rules.ingest.output.vid,
        mask=rules.segmentation.output.mask,
        parts=part_files("segment.json", "motion.npz", "sdc.mp4", "records/pose.json"),
    output:
        motion=ensure(made("motion.npz"), non_empty=True),
        sdc=ensure(made("sdc.mp4"), non_empty=True),
        record=made("records/pose.json"),
    log:
        logged("pose", "{video}.log"),
    benchmark:
        logged("pose", "{video}.tsv")
    wildcard_constraints:
        video=segments.divided(project, "pose"),
    conda:
        environment("pose", "video")
    threads: 2
    resources:
        mem_mb=1500,
    params:
        folder=subpath(input.vid, parent=True),
        parts=part_count,
        code=segments.join_digest("motion"),
    message:
        "{wildcards.video}: joining the motions of its segments"
    shell:
        "python -m video_decomp.segments.motion --template={params.folder:q} --parts={params.parts}"
        " > {log:q} 2>&1"


rule join_occluders:
    input:
        vid=rules.ingest.output.vid,
        # occ.mp4 may lie beside each of the records, which hold its digest.
        parts=part_files("segment.json", "records/occlusion.json"),
    output:
        record=made("records/occlusion.json"),
    log:
        logged("occlusion", "{video}.log"),
    benchmark:
        logged("occlusion", "{video}.tsv")
    wildcard_constraints:
        video=segments.divided(project, "occlusion"),
    conda:
        environment("occlusion", "video")
    threads: 1
    resources:
        mem_mb=1000,
    params:
        folder=subpath(input.vid, parent=True),
        parts=part_count,
        code=segments.join_digest("occluders"),
    message:
        "{wildcards.video}: joining what passes in front in its segments"
    shell:
        "python -m video_decomp.segments.occluders --template={params.folder:q}"
        " --parts={params.parts} > {log:q} 2>&1"


rule join_background:
    input:
        vid=rules.ingest.output.vid,
        mask=rules.segmentation.output.mask,
        parts=part_files("segment.json", "bk.mp4", "records/inpainting.json"),
    output:
        bk=ensure(made("bk.mp4"), non_empty=True),
        record=made("records/inpainting.json"),
    log:
        logged("inpainting", "{video}.log"),
    benchmark:
        logged("inpainting", "{video}.tsv")
    wildcard_constraints:
        video=segments.divided(project, "inpainting"),
    conda:
        environment("inpainting", "video")
    threads: 2
    resources:
        mem_mb=1000,
    params:
        folder=subpath(input.vid, parent=True),
        parts=part_count,
        code=segments.join_digest("background"),
    message:
        "{wildcards.video}: joining the backgrounds of its segments"
    shell:
        "python -m video_decomp.segments.background --template={params.folder:q}"
        " --parts={params.parts} > {log:q} 2>&1"
